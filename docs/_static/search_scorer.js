// How the search of the pages ranks what it finds: html_search_scorer of conf.py.
// A page comes first if words that the reader typed are in its title. The other values
// are the defaults of Sphinx, which it does not add to a scorer.
var Scorer = {
  score: ([page, title, anchor, description, score]) => {
    const query = new URLSearchParams(window.location.search).get("q") || "";
    const words = query.toLowerCase().split(/\s+/).filter((word) => word);
    // "checkpoint" also means "Checkpoints".
    const isIn = (word) =>
      title.toLowerCase().split(/[^\w-]+/).some((part) => part.startsWith(word));
    const isPage = !anchor && !description;
    return isPage && words.length && words.every(isIn) ? score + 30 : score;
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
