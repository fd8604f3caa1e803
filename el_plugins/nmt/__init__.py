"""Translation tools: a corpus of real text, subwords, scoring and the demo."""
