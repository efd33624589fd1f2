# Copyright (c) mmfdta authors.
"""Logging for modules that must not load MMEngine."""

import logging
import sys

LOGGER = 'mmfdta'
"""Name of Python's logger that is used if MMEngine is not loaded."""


def say(text: str, level: int = logging.INFO) -> None:
    """Log a line with MMEngine's current logger if it is loaded, else with Python's.

    Args:
        text: The line.
        level: Level of the module `logging`.
    """
    if 'mmengine' in sys.modules:
        from mmengine.logging import print_log

        print_log(text, 'current', level)
    else:
        logging.getLogger(LOGGER).log(level, text)


def show_log(prefix: str) -> None:
    """Write the log of Python's logger to standard error; once in a process.

    Args:
        prefix: Beginning of each line.
    """
    logger = logging.getLogger(LOGGER)
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(f'{prefix}%(message)s'))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False


def keep_log(lines: list[str]) -> None:
    """Also add everything that :func:`say` logs from now on to a list; call it once.

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
