"""The ViT tower: open_clip's VisionTransformer, run layer by layer so that fusion can step in between."""

from __future__ import annotations

import torch
from open_clip.transformer import QuickGELU, VisionTransformer
from torch import Tensor, nn

from fila_lab.config.base import ConfigError
from fila_lab.config.fusion_points import feature_index
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.towers import VitConfig
from fila_lab.modeling.attention import current_backend
from fila_lab.modeling.pixels import tower_statistics
from fila_lab.modeling.regions import Regions


class ToStream(nn.Module):
    """What a residual branch adds, in the residual stream's type, the weights': the same bits, but a CPU adds mixed types without vector
    instructions, which under bfloat16 autocast took a tenth of the ViT's time.
    """

    def __init__(self, norm: nn.LayerNorm) -> None:
        """norm: whose weights tell the type."""
        super().__init__()
        self._norm = (norm,)  # not a part of this module

    def forward(self, change: Tensor) -> Tensor:
        return change.to(self._norm[0].weight.dtype)


class LeanQuickGELU(QuickGELU):
    """open_clip's QuickGELU, bit for bit; where no gradient is recorded it fills one tensor of the widest size instead of three."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and x.requires_grad:
            return super().forward(x)
        return (1.702 * x).sigmoid_().mul_(x)


class VitTower(nn.Module):
    """CLIP's ViT with patch-level output, staged: `embed`, then `block(i)` for each layer, then `features`.

    The trunk is open_clip's class with its `custom` block, whose fused query-key-value projection calls scaled_dot_product_attention
    directly; parameter names and shapes are those of CLIP checkpoints. The image-text projection is dropped. Between layers tokens are
    of the weights' type (float32) whatever the autocast: the residual stream keeps its precision, the products run in the cast type.
    """

    def __init__(self, config: VitConfig, geometry: GeometryConfig) -> None:
        super().__init__()
        if config.width % config.heads:
            raise ConfigError(f"vit.heads={config.heads} does not divide vit.width={config.width}; choose a divisor of the width")
        self.config = config
        self.grid = geometry.grid
        self.width = config.width
        self.statistics = tower_statistics(config)
        self.n_layers = config.layers
        self.n_used = feature_index(config.feature_layer, config.layers)
        self.trunk = VisionTransformer(
            image_size=geometry.tile,
            patch_size=geometry.patch,
            width=config.width,
            layers=config.layers,
            heads=config.heads,
            mlp_ratio=config.mlp_ratio,
            output_dim=1,
            act_layer=LeanQuickGELU if config.quick_gelu else nn.GELU,
            block_type="custom",
            output_tokens=True,
        )
        self.trunk.proj = None
        self.regions: Regions | None = None
        """Compiles its layers, where a run wants that."""
        for block in self.trunk.transformer.resblocks:
            block.ls_1, block.ls_2 = ToStream(block.ln_1), ToStream(block.ln_2)  # in place of identities
        self._initialise()

    def _initialise(self) -> None:
        """OpenAI's initialisation of CLIP transformers: open_clip's own is too wide for the fused projection."""
        width, layers = self.width, self.n_layers
        for block in self.trunk.transformer.resblocks:
            nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)
            nn.init.normal_(block.attn.out_proj.weight, std=width**-0.5 * (2 * layers) ** -0.5)
            nn.init.zeros_(block.attn.out_proj.bias)
            nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.mlp.c_proj.weight, std=width**-0.5 * (2 * layers) ** -0.5)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, and of tokens between layers."""
        return self.trunk.positional_embedding.dtype

    def embed(self, tiles: Tensor) -> Tensor:
        """Normalised tiles [N, 3, T, T] -> tokens [N, 1 + g*g, D] before the first layer; the class token comes first."""
        trunk = self.trunk
        patches = trunk.conv1(tiles.to(self.dtype)).flatten(2).transpose(1, 2).to(self.dtype)
        tokens = torch.cat([trunk.class_embedding.expand(len(patches), 1, -1), patches], dim=1)
        return trunk.ln_pre(tokens + trunk.positional_embedding)

    def block(self, index: int, tokens: Tensor) -> Tensor:
        """Layer `index` (0-based): tokens [N, 1 + g*g, D] -> the same shape."""
        layer = self.trunk.transformer.resblocks[index]
        return layer(tokens) if self.regions is None else self.regions(layer, tokens, current_backend())

    def features(self, tokens: Tensor) -> Tensor:
        """Tokens after the feature layer -> patch tokens [N, g*g, D].

        After the last layer they pass open_clip's final norm, as in its own token output; tokens of earlier layers go on as they are,
        as in LLaVA.
        """
        tokens = tokens[:, 1:]
        return self.trunk.ln_post(tokens) if self.n_used == self.n_layers else tokens

    def forward(self, tiles: Tensor) -> Tensor:
        """Normalised tiles [N, 3, T, T] -> patch tokens [N, g*g, D] of the feature layer, without fusion."""
        tokens = self.embed(tiles)
        for index in range(self.n_used):
            tokens = self.block(index, tokens)
        return self.features(tokens)

    def unused_parameters(self) -> list[nn.Parameter]:
        """Parameters of layers after the feature layer: kept so that checkpoints load whole, never run."""
        unused = [p for block in list(self.trunk.transformer.resblocks)[self.n_used :] for p in block.parameters()]
        return unused + (list(self.trunk.ln_post.parameters()) if self.n_used < self.n_layers else [])
