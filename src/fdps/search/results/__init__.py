"""The results of a search: who the hits are, how sure that is, and the formats of export.

``candidates`` joins hits with their scenes and writes JSON, CSV, COCO and MOT. ``calibration``
turns similarities into levels and verdicts; ``comparisons`` and ``people`` measure it on labelled
data.
"""
