"""What is said about hits: who they are, how sure that is, and the formats they leave in.

``candidates`` joins hits with their scenes and writes JSON, CSV, COCO and MOT. ``calibration``
turns similarities into levels and verdicts; ``comparisons`` and ``people`` measure it on labelled
data.
"""
