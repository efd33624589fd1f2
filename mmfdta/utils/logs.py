# Copyright (c) mmfdta authors.
"""Lines of log, where nobody should have to load MMEngine for one."""

import logging
import sys

LOGGER = 'mmfdta'
"""Python's logger, where MMEngine is not loaded."""


def say(text: str, level: int = logging.INFO) -> None:
    """Log a line with MMEngine's current logger if it is loaded, else with Python's.

    Args:
        text: The line.
        level: Of the module `logging`.
    """
    if 'mmengine' in sys.modules:
        from mmengine.logging import print_log

        print_log(text, 'current', level)
    else:
        logging.getLogger(LOGGER).log(level, text)


def show_log(prefix: str) -> None:
    """Write what is logged with Python's logger to standard error; once in a process.

    Args:
        prefix: Stands before each line.
    """
    logger = logging.getLogger(LOGGER)
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(f'{prefix}%(message)s'))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False


def keep_log(lines: list[str]) -> None:
    """Add what :func:`say` logs from now on to a list, too; once in a process.

    Args:
        lines: Receives the texts.
    """
    logger = logging.getLogger(LOGGER)
    if 'mmengine' in sys.modules:
        from mmengine.logging import MMLogger

        logger = MMLogger.get_current_instance()
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore
    logger.addHandler(handler)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
