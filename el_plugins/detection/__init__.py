"""Detection tools: data sets in COCO layout from real pictures, the demo, tables and pictures of results."""
