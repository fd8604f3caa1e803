"""Translation tools: corpora, subwords, preparing text of one's own, the benchmark."""
