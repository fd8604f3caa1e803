"""Small detection data sets in COCO's layout, and the demo on them."""
