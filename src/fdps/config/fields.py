"""The fields of a recipe: frozen dataclasses, one sentence per field."""

from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from fdps.config.backbones import check_backbone
from fdps.config.ranges import check_fields
from fdps.config.systems import TWO_STEP_SYSTEMS, system_names
from fdps.config.two_step import TwoStepConfig
from fdps.errors import ConfigError


@dataclass(frozen=True)
class Source:
    """One split of one data set on disk."""

    kind: str
    """Format of the data set: prw, cuhk_sysu, movienet, coco, folder, mot, cvat or wildtrack."""
    root: str
    """Its folder; a relative path starts where the command runs."""
    split: str = "train"
    """The split to read."""

    def __post_init__(self) -> None:
        check_fields("data", self)


@dataclass(frozen=True)
class DataConfig:
    """The data to learn from and to test on."""

    train: tuple[Source, ...] = ()
    """Training splits; several are joined, their identities kept apart."""
    test: Source | None = None
    """The split that ``fdps predict`` and ``fdps evaluate`` take by default."""
    validation: Source | None = None
    """The split that is searched while training; to be fair, neither trained nor tested on."""

    def __post_init__(self) -> None:
        check_fields("data", self)


@dataclass(frozen=True)
class ModelConfig:
    """The network: backbone, proposals, region heads."""

    kind: Literal["one_step"] = "one_step"
    """One network finds and embeds people; ``two_step`` makes this section another one."""
    system: str = "fdps"
    """How the parts are put together: one of the systems of this package, or one of your own."""
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    """What this system alone can be told; its page names them."""
    person_score: Literal["softmax", "norm", "memory"] = "softmax"
    """What scores a region: a linear layer, the length of the embedding (NAE), a memory (HOIM)."""
    stages: Literal["one", "two"] = "one"
    """Stages of region heads; of two (SeqNet) the first finds people and the second embeds them."""
    backbone: str = "resnet50"
    """Trunk to stride 16: resnet50, resnet18, mobilenet_v2, or ``timm:NAME`` (extra ``timm``)."""
    backbone_weights: str = "imagenet"
    """``imagenet``, ``pretrained`` (fetched), ``none``, a file, or the trunk of an fdps network."""
    frozen_stages: int = 1
    """Leading stages of the trunk that do not train; 1 is conv1 and the affine of its norm."""
    norm: Literal["train", "frozen", "sync"] = "train"
    """Batch norms learn, over the pictures of one process or (sync) of all, or stay as they are."""
    short_side: tuple[int, ...] = (900,)
    """Shorter picture side in pixels; of several, training draws one, tests take the last."""
    long_side: int = 1500
    """Limit of the longer picture side in pixels."""
    anchor_sizes: tuple[int, ...] = (32, 64, 128, 256, 512)
    """Square roots of the anchor areas, in pixels of the resized picture."""
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Anchor height divided by width."""
    rpn_before_nms: tuple[int, int] = (12000, 6000)
    """Proposals kept before suppression, in training and in tests."""
    rpn_after_nms: tuple[int, int] = (2000, 300)
    """Proposals kept after suppression, in training and in tests."""
    rpn_nms_iou: float = 0.7
    """A proposal that overlaps a better one by more than this is dropped."""
    rpn_test_min_score: float = 0.0
    """Tests look at no proposal of a lower score; 0 looks at all that are kept."""
    rpn_test_nms_iou: float | None = None
    """As ``rpn_nms_iou``, in tests alone; left out: the same."""
    rpn_foreground_iou: float = 0.7
    """An anchor with at least this overlap is a person."""
    rpn_background_iou: float = 0.3
    """An anchor below it is background, between the two ignored."""
    rpn_anchors_per_image: int = 256
    """Anchors sampled from one training picture."""
    rpn_positive_fraction: float = 0.5
    """Largest share of people among the sampled anchors."""
    region_size: tuple[int, int] = (14, 14)
    """Height and width of the aligned region; the region head halves both."""
    region_pooling: Literal["align", "max"] = "align"
    """Bilinear samples of each region (RoIAlign), or the largest of each bin (RoI pooling, OIM)."""
    region_samples: int = 2
    """Bilinear samples per position and axis of the aligned region."""
    regions_per_image: int = 128
    """Regions sampled from one training picture."""
    positive_fraction: float = 0.5
    """Largest share of people among the sampled regions."""
    foreground_iou: float = 0.5
    """A region with at least this overlap is a person."""
    background_iou: float = 0.5
    """A region below it is background, between the two ignored; public code has 0.5 or 0.1."""
    reid_features: Literal["res5", "res4+res5"] = "res5"
    """Embed the region after the region head alone, or before and after it, half of each."""
    embedded_box: Literal["proposal", "detection"] = "proposal"
    """Embed the proposal that a detection came from, as the family does, or its own box."""
    embedding_dim: int = 256
    """Length of the re-ID embedding."""
    embedding_norm: Literal["batch", "regions", "prototype"] = "batch"
    """Norm of the embedding: over people, people and background, or identities (OIMNet++)."""
    box_norm: bool = True
    """Batch norm on the box outputs; not in the paper, without it a box weight of 10 fails."""
    score_threshold: float = 0.5
    """Detections with a lower score are dropped."""
    nms_iou: float = 0.4
    """A detection that overlaps a better one by more than this is dropped."""
    max_detections: int = 300
    """Most detections in one picture."""
    first_box_norm: bool = False
    """Batch norm on the box outputs of the first of two stages."""
    second_nms_iou: float = 0.5
    """As ``nms_iou``, after the second of two stages, whose boxes overlap each other more."""

    def __post_init__(self) -> None:
        check_fields("model", self)
        if self.system not in (known := system_names()):
            near = get_close_matches(self.system, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else ""
            if self.system in TWO_STEP_SYSTEMS:
                hint = "it is a system of two steps: set model.kind = 'two_step' and model.detector"
            raise ConfigError(
                f"recipe key model.system must be one of {', '.join(known)}, got {self.system!r}",
                hint=hint,
            )
        check_backbone(self.backbone)
        for name in ("short_side", "anchor_sizes", "anchor_ratios"):
            if not getattr(self, name):
                raise ConfigError(f"recipe key model.{name} must not be empty")
        for prefix in ("", "rpn_"):
            background = getattr(self, f"{prefix}background_iou")
            foreground = getattr(self, f"{prefix}foreground_iou")
            if background > foreground:
                raise ConfigError(
                    f"recipe key model.{prefix}background_iou must be at most "
                    f"model.{prefix}foreground_iou ({foreground}), got {background}"
                )
        if self.reid_features == "res4+res5" and self.embedding_dim % 2:
            raise ConfigError(
                f"recipe key model.embedding_dim must be even for res4+res5, half of it for each, "
                f"got {self.embedding_dim}"
            )
        if self.embedding_norm == "prototype":
            self._check_prototypes()

    def _check_prototypes(self) -> None:
        """Refuse what a norm over identities cannot be combined with."""
        key = "recipe key model.embedding_norm = 'prototype'"
        if self.person_score == "norm":
            raise ConfigError(
                f"{key} has no scale of its own, which model.person_score = 'norm' learns from",
                hint="set model.person_score to softmax or memory, or model.embedding_norm=batch",
            )
        if self.norm == "sync":
            raise ConfigError(
                f"{key} knows the identities of one process alone, so model.norm cannot be 'sync'",
                hint="set model.norm to train (each process by its own people) or to frozen",
            )


@dataclass(frozen=True)
class LossConfig:
    """Re-ID loss and the weights of all losses."""

    name: Literal["oim", "boim", "loim"] = "oim"
    """Eq. 6-7, Eq. 11, or OIM whose table follows regions that fit well (OIMNet++)."""
    temperature: float = 1 / 30
    """Divisor of similarities in the softmax of Eq. 6."""
    momentum: float = 0.5
    """Share of the old table row that an update keeps."""
    least_kept: float = 0.1
    """The same for a region that fits its person perfectly; others keep up to 0.3 (loim only)."""
    queue_size: int = 5000
    """Embeddings of unlabelled people kept as negatives."""
    background_size: int = 5000
    """Embeddings of background kept where a memory scores boxes (HOIM)."""
    alpha: float | None = None
    """Shift in Eq. 10; left out: -2 ln L, which makes w a mean. Not in the paper."""
    sigma: float = 0.5
    """A negative is hard above this share of the positive similarity (Eq. 9). Not in the paper."""
    beta: float = 0.2
    """Similarity below which a negative is far enough (Eq. 9). Not in the paper."""
    use_dispersion: bool = True
    """Let w of Eq. 10 scale the OIM loss (boim only)."""
    use_negatives: bool = True
    """Add the loss of Eq. 9 (boim only)."""
    teacher_weight: float = 0.0
    """Weight of what a teacher's embeddings teach, where data have them; 0 learns none of it."""
    teacher_direction: float = 4.0
    """Weight of the direction of an embedding, in shares of the weight of its similarities."""
    teacher_queue_size: int = 2000
    """Earlier embeddings of the teacher to which similarities are compared."""
    teacher_temperature: float = 0.07
    """Divisor of similarities when those of network and teacher are compared."""
    rpn_score_weight: float = 1.0
    """Weight of the proposal score loss."""
    rpn_box_weight: float = 1.0
    """Weight of the proposal box loss."""
    person_weight: float = 1.0
    """Weight of the person/background loss."""
    first_person_weight: float = 1.0
    """Weight of the person/background loss of the first of two stages."""
    first_box_weight: float = 10.0
    """Weight of the box loss of the first of two stages."""
    box_weight: float = 10.0
    """Weight of the box loss; the paper does not say, its family takes 10."""
    reid_weight: float = 1.0
    """Weight of the re-ID loss."""
    identity_weight: float = 0.0
    """Weight of a classifier of the training identities (two-step only)."""
    identity_smoothing: float = 0.1
    """Share of a label that is spread evenly over all identities (two-step only)."""
    triplet_weight: float = 0.0
    """Weight of batch-hard triplets, which need ``train.sampling = people`` (two-step only)."""
    triplet_margin: float = 0.3
    """How much farther than a person's farthest view the nearest other person should be."""

    def __post_init__(self) -> None:
        check_fields("loss", self)

    @property
    def teacher_similarity_weight(self) -> float:
        """Weight of the similarities to earlier people."""
        return self.teacher_weight

    @property
    def teacher_direction_weight(self) -> float:
        """Weight of the direction."""
        return self.teacher_weight * self.teacher_direction


@dataclass(frozen=True)
class TrainConfig:
    """Optimiser, schedule, augmentation and machine."""

    epochs: int = 20
    """Passes over the training scenes; the paper does not say."""
    batch_size: int = 5
    """Pictures per optimiser step, over all processes and micro-batches together."""
    accumulate: int = 1
    """Micro-batches in which a process takes its share of a step: less memory, the same step."""
    sampling: Literal["shuffle", "identity", "hard", "pairs", "people"] = "shuffle"
    """Each scene once; each identity as often; hard ones more; in twos; ``per_person`` at once."""
    per_person: int = 4
    """Scenes or crops of an identity that come one after the other (``people`` only)."""
    group_by_aspect: bool = False
    """Put pictures of like aspect ratio into one batch, which pads less."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """The optimiser; the paper has SGD."""
    lr: float = 0.003
    """Learning rate after warm-up."""
    trunk_lr_scale: float = 1.0
    """Learning rate of the trunk in shares of ``lr``; pretrained weights wear off at full rate."""
    layer_decay: float = 1.0
    """Each trunk stage learns at this share of the rate of the stage after it."""
    sgd_momentum: float = 0.9
    """Momentum of SGD."""
    adam_betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the two moments of AdamW."""
    weight_decay: float = 5e-4
    """L2 penalty on all trained parameters; with AdamW decoupled from the gradient."""
    schedule: Literal["steps", "cosine"] = "steps"
    """Learning rate after warm-up: falls at ``milestones``, or along half a cosine to zero."""
    milestones: tuple[float, ...] = (14.0,)
    """Epochs at which the learning rate is multiplied by ``decay``; fractions are allowed."""
    decay: float = 0.1
    """Factor of the learning rate at a milestone."""
    warmup_epochs: float = 1.0
    """Length of the linear warm-up."""
    warmup_start: float = 1e-3
    """Learning rate of the first step of the warm-up, in shares of ``lr``."""
    reid_warmup_epochs: float = 0.0
    """Length of a linear rise of the re-ID weight; while the table fills, its gradient is noise."""
    max_grad_norm: float = 10.0
    """Gradients longer than this are shortened."""
    clip: Literal["whole", "parts"] = "parts"
    """Measure that length over the whole network, or over trunk, proposals and heads each."""
    ema: float = 0.0
    """Decay per step of a running mean of the weights, which is what is kept; 0 keeps none."""
    flip: float = 0.5
    """Probability that a picture is mirrored."""
    zoom: float = 0.0
    """A picture is enlarged or reduced by up to this share; not in the paper."""
    colour_jitter: float = 0.0
    """Brightness, contrast, saturation change by up to this share, below 1; not in the paper."""
    erase: float = 0.0
    """Probability, per person, that a part of the box turns to noise; not in the paper."""
    mosaic: float = 0.0
    """Probability that a picture comes side by side with others in one; not in the paper."""
    mosaic_size: tuple[int, int] = (480, 720)
    """Height and width of such a mosaic in pixels."""
    start_from: str = ""
    """Weights file, run folder or bundled name whose network the run begins with; empty: none."""
    seed: int = 1
    """Seed of initial weights, data order, augmentation and region sampling."""
    validate_every: int = 0
    """Epochs between two searches of ``data.validation``; 0 never searches it."""
    patience: int = 0
    """Validations without a better mAP after which training ends early; 0 never ends it early."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Arithmetic of the network; memory, similarities, boxes and losses stay float32."""
    channels_last: bool = True
    """Keep maps with their channels side by side, which most convolutions are faster on."""
    compile: bool = False
    """Compile trunk and region head by ``torch.compile``; the first steps take minutes."""
    recompute_trunk: bool = False
    """Compute the maps of the trunk again in the backward pass instead of keeping them."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """The device to train on."""
    workers: int = 2
    """Processes that read pictures; 0 reads in the training process."""
    decoded_gib: float = 0.0
    """Hold all pictures decoded if they fit into this many GiB; 0 reads the files each time."""
    log_every: int = 10
    """Steps between two lines of the log."""
    checkpoint_every: int = 0
    """Steps between two checkpoints, beside the one after every epoch; 0 writes no others."""
    keep_last: int = 2
    """Newest checkpoints to keep; the one with the best validation stays as well."""

    def __post_init__(self) -> None:
        check_fields("train", self)
        if self.accumulate > self.batch_size:
            raise ConfigError(
                f"recipe key train.accumulate must be at most train.batch_size "
                f"({self.batch_size}), got {self.accumulate}"
            )
        if self.sampling == "pairs" and (self.batch_size % 2 or self.group_by_aspect):
            raise ConfigError(
                "recipe key train.sampling is 'pairs', which needs an even train.batch_size and no "
                f"train.group_by_aspect, got {self.batch_size} and {self.group_by_aspect}",
                hint="or the two scenes of a pair come into different batches",
            )
        if self.sampling == "people" and (
            self.batch_size % self.per_person or self.group_by_aspect
        ):
            raise ConfigError(
                "recipe key train.sampling is 'people', which needs a train.batch_size that is a "
                f"multiple of train.per_person ({self.per_person}) and no train.group_by_aspect, "
                f"got {self.batch_size} and {self.group_by_aspect}",
                hint="or the views of a person come into different batches",
            )
        if self.compile and self.recompute_trunk:
            raise ConfigError(
                "recipe keys train.compile and train.recompute_trunk exclude each other",
                hint="torch.compile cannot follow what is recomputed; set one of them to false",
            )
        if self.patience and not self.validate_every:
            raise ConfigError(
                f"recipe key train.patience is {self.patience}, but nothing is validated",
                hint="set train.validate_every, or train.patience=0",
            )


@dataclass(frozen=True)
class Recipe:
    """Everything that makes a training run what it is."""

    name: str = "unnamed"
    """Name of the run folder."""
    data: DataConfig = field(default_factory=DataConfig)
    """The data to learn from."""
    model: ModelConfig | TwoStepConfig = field(default_factory=ModelConfig)
    """The network, or the network on crops behind a detector, which ``model.kind`` decides."""
    loss: LossConfig = field(default_factory=LossConfig)
    """The losses to minimise."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """The way to minimise them."""

    def __post_init__(self) -> None:
        check_fields("", self)
        is_folder = self.name not in ("", "..") and Path(self.name).name == self.name
        if not (is_folder and self.name.isprintable()):
            raise ConfigError(
                f"recipe key name must name a folder, got {self.name!r}",
                hint="no '/', no '..' and no control characters; --out names a folder elsewhere",
            )
        self._check_kind()
        self._check_kept()
        if self.train.validate_every and self.data.validation is None:
            raise ConfigError(
                f"recipe key train.validate_every is {self.train.validate_every}, but there is "
                "nothing to validate on",
                hint="name a split: validation = { kind = …, root = …, split = … } in [data]",
            )

    def _check_kept(self) -> None:
        """Refuse what would change crops whose features were computed once."""
        if not isinstance(self.model, TwoStepConfig) or self.model.features != "kept":
            return
        for name in ("colour_jitter", "erase", "start_from"):
            if value := getattr(self.train, name):
                raise ConfigError(
                    f"recipe key train.{name} is {value!r}, but model.features is 'kept'",
                    hint="features are computed once, by the weights of model.backbone_weights; "
                    "train.flip alone goes with them",
                )

    def _check_kind(self) -> None:
        """Refuse what the other kind of model alone can do."""
        is_two_step = isinstance(self.model, TwoStepConfig)
        foreign = (
            {"train": ("zoom", "mosaic", "group_by_aspect"), "loss": ("teacher_weight",)}
            if is_two_step
            else {"loss": ("identity_weight", "triplet_weight")}
        )
        for section, names in foreign.items():
            for name in names:
                value = getattr(getattr(self, section), name)
                if value:
                    raise ConfigError(
                        f"recipe key {section}.{name} is {value}, which is not for "
                        f"model.kind = {self.model.kind!r}",
                        hint="crops have one person and one size"
                        if is_two_step
                        else "it belongs to a network on crops: model.kind = 'two_step'",
                    )


MACHINE_FIELDS = (
    "accumulate",
    "precision",
    "channels_last",
    "compile",
    "recompute_trunk",
    "device",
    "workers",
    "decoded_gib",
    "log_every",
    "checkpoint_every",
    "keep_last",
)
"""Fields of ``train`` that say how to compute, not what: a run may go on with other ones."""
