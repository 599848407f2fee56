"""Let a model label pictures, so that another can learn from it without anybody's annotations.

``shards`` keeps what was seen of each file until all are done, ``label`` finds people in pictures
and videos, ``embed`` adds embeddings to a data set that has boxes already. All of it is internal
and may change; ``fdps data label`` is what others may rely on.
"""

from fdps.labelling.embed import embed_dataset
from fdps.labelling.label import Labelled, LabelRules, label_pictures
from fdps.labelling.shards import has_shards

__all__ = ["LabelRules", "Labelled", "embed_dataset", "has_shards", "label_pictures"]
