// Search: a page or section whose title is what was asked for comes first. The other numbers are Sphinx's own.
var Scorer = {
  score: ([doc, title, anchor, descr, score]) => {
    const asked = (new URLSearchParams(location.search).get('q') || '').trim().toLowerCase();
    const name  = title.split('>').pop().trim().toLowerCase();
    return score + (name === asked ? 100 : name === 'the ' + asked ? 110 : 0);
  },
  objNameMatch: 11, objPartialMatch: 6, objPrio: {0: 15, 1: 5, 2: -5}, objPrioDefault: 0,
  title: 15, partialTitle: 7, term: 5, partialTerm: 2,
};
