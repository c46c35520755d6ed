"""What is known of torch and its neighbours by name. Tables only; each torch fact was checked by running torch 2.13."""

from __future__ import annotations

import re

# Leaf modules of torch.nn and the names of their own parameters.
NORMS_WITH_STATISTICS = ("BatchNorm", "SyncBatchNorm", "LazyBatchNorm")
WEIGHT_AND_BIAS = re.compile(
    r"^(Lazy)?(Linear|Bilinear|Conv\w*|BatchNorm\w*|SyncBatchNorm|LayerNorm|GroupNorm|NonDynamicallyQuantizableLinear)$"
)
WEIGHT_ONLY = ("Embedding", "EmbeddingBag", "PReLU", "RMSNorm")
RECURRENT = ("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell")
OPAQUE = (
    "Transformer", "TransformerEncoder", "TransformerDecoder", "TransformerEncoderLayer", "TransformerDecoderLayer",
    "MultiheadAttention", "AdaptiveLogSoftmaxWithLoss",
)  # fmt: skip
CONTAINERS = ("Sequential", "ModuleList", "ModuleDict")
PARAMETER_CONTAINERS = ("ParameterList", "ParameterDict")
WRAPPERS = ("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel", "AveragedModel", "OptimizedModule")
SPATIAL_NORM_WITHOUT_STATISTICS = ("InstanceNorm", "LayerNorm", "GroupNorm", "RMSNorm", "LocalResponseNorm")

# Factories: a dotted name that ends like this gives a module.
FACTORY = re.compile(
    r"^(torchvision\.models\.(?!.*(transform|weight|Weight))[\w.*]+|torch\.hub\.load|timm\.(models\.)?create_model"
    r"|transformers\.(\w+\.)*\w*(Model|ModelWith\w+|For\w+|PreTrainedModel)(\.from_pretrained|\.from_config|\._from_config)?"
    r"|transformers\.AutoModel\w*\.from_(pretrained|config)"
    r"|(open_)?clip\.(load|create_model\w*)|open_clip\.create_model\w*|lpips\.LPIPS"
    r"|segmentation_models_pytorch\.\w+|smp\.\w+|sentence_transformers\.SentenceTransformer|peft\.get_peft_model"
    r"|diffusers\.\w*(Model|Pipeline|Autoencoder|Adapter)\w*(\.from_pretrained)?"
    r"|efficientnet_pytorch\.EfficientNet\.from_\w+|facenet_pytorch\.InceptionResnetV1|whisper\.load_model"
    r"|pretrainedmodels\.[\w.]+|torchaudio\.(pipelines|models)\.[\w.]+)$"
)
NOT_A_FACTORY = re.compile(r"(Config|Tokenizer|Processor|FeatureExtractor|Weights|Scheduler|list_models|get_weight)")
WITH_BATCH_NORM = re.compile(
    r"resn|densenet|mobilenet|efficientnet|inception|googlenet|shufflenet|mnasnet|regnet|vgg\w*_bn|vovnet|dla|"
    r"hrnet|darknet|xception|repvgg|fcn_|deeplab|unet|c3d|r3d|r2plus1d|mc3|ghostnet|fbnet|rexnet|wide_res|i3d"
)
WITHOUT_BATCH_NORM = re.compile(
    r"vit|bert|roberta|gpt|llama|swin|convnext|deit|clip|t5|beit|mixer|vgg\d+$|alexnet|squeezenet|dino|xlnet|electra|"
    r"whisper|wav2vec|opt|bart|mistral|qwen"
)

# Tensors: what a method or function of torch does to the gradient.
NON_DIFFERENTIABLE = frozenset(
    "long int short byte bool char argmax argmin argsort one_hot histc bincount multinomial bucketize searchsorted "
    "unique nonzero eq ne lt le gt ge isnan isinf isfinite logical_and logical_or logical_not logical_xor topk_indices "
    "randint_like randn_like rand_like zeros_like ones_like empty_like full_like new_zeros new_ones new_full new_empty "
    "new_tensor argwhere isclose allclose equal count_nonzero signbit floor_divide histogram int_repr is_nonzero "
    "triu_indices tril_indices isin".split()
)
ZERO_GRADIENT = frozenset("round floor ceil trunc sign bernoulli fix round_ floor_ ceil_ sign_ heaviside sgn".split())
FRESH = frozenset(
    "randn_like rand_like zeros_like ones_like empty_like full_like randint_like new_zeros new_ones new_full new_empty "
    "new_tensor".split()
)
CUTS = {
    "detach": "detach", "detach_": "detach", "data": "data", "item": "item", "tolist": "item", "numpy": "numpy",
    "__array__": "numpy",
}  # fmt: skip
NO_TENSOR = frozenset(
    "size shape dim ndim numel nelement dtype device is_cuda requires_grad grad_fn is_leaf element_size stride storage "
    "is_contiguous data_ptr names layout is_floating_point type_as_name output_nr itemsize nbytes get_device "
    "is_sparse is_complex __len__ shard type_name is_inference retain_grad register_hook backward".split()
)
SAME = frozenset("to cuda cpu contiguous float double half bfloat16 pin_memory share_memory_ type".split())

# Operations that save an operand for the gradient of another one (operators by their names), and such criteria.
SAVES = frozenset(
    "Multiply MultiplyAssign Divide DivideAssign MatrixMultiply Power item mul mul_ multiply div div_ divide matmul mm "
    "bmm mv dot outer einsum addmm linear bilinear conv1d conv2d conv3d mse_loss smooth_l1_loss huber_loss kl_div "
    "cross_entropy nll_loss binary_cross_entropy binary_cross_entropy_with_logits where gather index_select embedding "
    "masked_fill masked_select scatter index_add cdist minimum maximum lerp".split()
)
SAVING_CRITERIA = frozenset(
    "MSELoss SmoothL1Loss HuberLoss KLDivLoss CrossEntropyLoss NLLLoss BCELoss BCEWithLogitsLoss".split()
)

# Functions of torch that make tensors out of nothing.
CREATORS = frozenset(
    "randn rand zeros ones full empty arange linspace logspace eye randint randperm normal from_numpy as_tensor tensor "
    "zeros_like ones_like rand_like randn_like full_like empty_like load FloatTensor LongTensor Tensor IntTensor "
    "BoolTensor ByteTensor DoubleTensor HalfTensor scalar_tensor hann_window tril_indices triu_indices".split()
)
COPIES = frozenset(
    "torch.tensor torch.as_tensor torch.from_numpy torch.Tensor torch.FloatTensor torch.autograd.Variable "
    "torch.autograd.variable.Variable copy.deepcopy torch.sparse_coo_tensor".split()
)
NO_MODULE_PARAMETERS = re.compile(
    r"(Loss|Dropout\w*|ReLU\w*|GELU|SiLU|Sigmoid|Tanh|Softmax\w*|Pool\w*|Flatten|Identity|Upsample)$"
)
OPTIMIZER = re.compile(
    r"^(torch\.optim\.(?!lr_scheduler)(\w+\.)*[A-Z]\w+|transformers\.(\w+\.)*(AdamW|Adafactor)|bitsandbytes\.optim\.\w+"
    r"|timm\.optim\.(\w+\.)*[A-Z]\w+|apex\.optimizers\.\w+|torch_optimizer\.\w+|lion_pytorch\.Lion|adabelief_pytorch\.\w+)$"
)
OPTIMIZER_FACTORY = re.compile(r"(create_optimizer\w*|get_optimizer|build_optimizer|make_optimizer)$")
GRAD_CONTEXTS = {
    "torch.no_grad": ("no_grad", False),
    "torch.autograd.no_grad": ("no_grad", False),
    "torch.autograd.grad_mode.no_grad": ("no_grad", False),
    "torch.inference_mode": ("inference_mode", False),
    "torch.autograd.inference_mode": ("inference_mode", False),
    "torch.enable_grad": ("enable_grad", True),
    "torch.autograd.enable_grad": ("enable_grad", True),
    "torch.set_grad_enabled": ("set_grad_enabled", None),
    "torch.autograd.set_grad_enabled": ("set_grad_enabled", None),
    "torch.autograd.grad_mode.set_grad_enabled": ("set_grad_enabled", None),
}
AUTOCAST = ("torch.autocast", "torch.cuda.amp.autocast", "torch.amp.autocast", "torch.cpu.amp.autocast")
LOADERS = re.compile(r"(DataLoader|TensorDataset|Dataset|Subset|Sampler|DataModule|ImageFolder|MNIST|CIFAR\w*)$")
DATA_NAMES = re.compile(
    r"(^|_)(train|val|valid|test)?_?(data_?)?(loader|dataloader|dl|dataset|batches|data_iter|loaders|batch|batch_data)$"
)
# Functions that mix several tensors: an argument nobody could follow may bring a gradient of its own.
MIXES = re.compile(
    r"loss|cross_entropy|matmul|^b?mm$|addmm|where|einsum|^(add|sub|mul|div|lerp|dot|outer|kl_div|linear|pow|cat|stack)_?$|"
    r"similarity|cdist|conv|embedding|bilinear|attention|masked_fill|scatter|minimum|maximum|distance"
)
# An operand with such a name is a number from the settings, not a tensor.
SETTING = re.compile(
    r"^-?[\d.]+$|(^|[\W_])(args?|cfg|config|conf|opts?|hparams|hp|flags|settings|params|len|int|float|math|size|shape|numel|"
    r"weights?|lambd\w*|lam\w*|alpha|beta|gamma|coe\w*|scale|temp\w*|eps\w*|lr|ratio|margin|tau|steps?|epochs?|sigma|"
    r"num|n|w|k|lo|hi|decay|momentum|factor|power|accum\w*|world_size|batch_size|width|height|depth|length)($|[\W_\d])",
    re.IGNORECASE,
)
CHECKPOINTS = ("torch.utils.checkpoint.checkpoint", "torch.utils.checkpoint.checkpoint_sequential")
# An attribute of a module nobody can look into: a module, by the names such models use.
SUBMODULE_NAMES = re.compile(
    r"^(fc\d*|classifier|head|heads|features?|encoder|decoder|layer\d+|layers?|blocks?|stages?|stem|backbone|embeddings?|"
    r"conv\d*|conv_\w+|bn\d*|norm\d*|avgpool|transformer|bert|roberta|distilbert|model|base_model|module|visual|"
    r"vision_model|text_model|lm_head|score|pooler|trunk|body|neck|net|patch_embed\w*|wte|wpe|h|unet|vae|text_encoder|"
    r"visual_projection|text_projection|feature_extractor|aux_logits|AuxLogits|roi_heads|rpn|embed_tokens|mlp|attn|"
    r"\w+_(head|heads|encoder|decoder|model|layers?|blocks?|embeddings?|net|backbone|tower|trunk|neck|proj))$"
)
# A part of a network that has batch norm, which surely holds some of it.
BODY_NAMES = re.compile(r"^(encoder|backbone|features?|layer\d+|layers|bn\d*|trunk|body|stages?|blocks?)$")
ONLY_WEIGHT = re.compile(r"embeddings?$|^embed_tokens$|^wte$|^wpe$")  # layers that have nothing but a weight
# The classes of what models of transformers and diffusers return: dicts whose keys are attributes too.
OUTPUT = re.compile(r"(transformers|diffusers)\.(\w+\.)*\w*Output(With\w+)?$")
# What transformers models give by a method.
PART_GETTERS = {
    "get_input_embeddings": "embeddings.word_embeddings",
    "get_output_embeddings": "lm_head",
    "get_encoder": "encoder",
    "get_decoder": "decoder",
}
TRANSFORMER_PARTS = re.compile(
    r"^(encoder|decoder|layers|self_attn|multihead_attn|linear[12]|norm[123]?|out_proj|in_proj_(weight|bias))$"
)
PARAMETER_NAMES = re.compile(
    r"^(weight|bias|in_proj_weight|pos_embed|cls_token|logit_scale|weight_[vg]|weight_[ih]h_l\d)$"
)
