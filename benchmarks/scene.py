"""What everything is measured on: one image on the preset's largest canvas, and one pair of towers with random weights, shared by all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from open_clip.transformer import QuickGELU, VisionTransformer
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from fila_lab.config import FilaError, RunConfig, feature_index, resolve_run
from fila_lab.config.geometry import Size
from fila_lab.config.strategies import has_convnext
from fila_lab.cost import largest_canvas, synthetic_batch
from fila_lab.modeling import ConvNextTower, HybridEncoder, VisionBatch, VitTower, build_convnext, build_vit, normalise
from fila_lab.modeling.regions import Regions


def benchmark_config(preset: str) -> RunConfig:
    """The preset with random weights: costs do not depend on what weights say."""
    return resolve_run(preset, {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random"})


def filled(module: nn.Module) -> nn.Module:
    """A module built on the meta device, given memory and weights under which activations neither vanish nor grow."""
    module.to_empty(device="cpu")
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
    return module.eval().requires_grad_(False)


@dataclass
class Scene:
    """Towers, pixels, and what stands on them. batch: uint8 pixels of one image; rows, cols: its tiles."""

    config: RunConfig
    vit: VitTower
    convnext: ConvNextTower
    batch: VisionBatch
    canvas: Size

    @classmethod
    def build(cls, config: RunConfig, images: int = 1) -> Scene:
        """Towers of the config with random weights, and noise to look at."""
        with torch.device("meta"):
            vit, convnext = build_vit(config), build_convnext(config)
        filled(vit)
        filled(convnext)
        canvas = largest_canvas(config)
        torch.manual_seed(0)
        scene = cls(config, vit, convnext, synthetic_batch(config, images, canvas), canvas)
        scene.prepare()
        return scene

    def prepare(self) -> None:
        """Makes what calls share, before any clock runs, and before FLOPs are counted: made then, it would have shapes and no memory."""
        for shared in (self.pixels, self.detail, *self.library_vit.parameters()):
            if isinstance(shared, FakeTensor):
                raise FilaError(
                    "scene: pixels or weights were first made while FLOPs were counted, on shapes alone; build the scene before"
                )

    @property
    def rows(self) -> int:
        return self.batch.rows

    @property
    def cols(self) -> int:
        return self.batch.cols

    @cached_property
    def pixels(self) -> Tensor:
        """Overview and tiles as the ViT wants them, float32 [1 + rows*cols, 3, T, T]."""
        assert self.batch.overview is not None
        assert self.batch.tiles is not None
        return normalise(torch.cat([self.batch.overview[:, None], self.batch.tiles], dim=1).flatten(0, 1))

    @cached_property
    def detail(self) -> Tensor:
        """The ConvNeXt's input, float32 [1, 3, H, W]."""
        assert self.batch.detail is not None
        return normalise(self.batch.detail)

    @cached_property
    def library_vit(self) -> VisionTransformer:
        """open_clip's own class and forward on the towers' weights.

        Of its two blocks the `custom` one, the faster on a CPU. The default block, nn.MultiheadAttention, is many times slower there under
        bfloat16 autocast with several tiles: its projection becomes a batched product for which the weights are copied once a token.
        """
        config, geometry = self.config.vit, self.config.geometry
        with torch.device("meta"):
            trunk = VisionTransformer(
                image_size=geometry.tile,
                patch_size=geometry.patch,
                width=config.width,
                layers=config.layers,
                heads=config.heads,
                mlp_ratio=config.mlp_ratio,
                output_dim=1,
                act_layer=QuickGELU if config.quick_gelu else nn.GELU,
                block_type="custom",
            )
        trunk.proj = None
        trunk.load_state_dict(self.vit.trunk.state_dict(), assign=True)
        return trunk.eval().requires_grad_(False)

    @cached_property
    def compiled(self) -> Scene:
        """The same to look at, by towers that share these weights and are compiled by region."""
        with torch.device("meta"):
            vit, convnext = build_vit(self.config), build_convnext(self.config)
        for own, shared in ((vit, self.vit), (convnext, self.convnext)):
            own.load_state_dict(shared.state_dict(), assign=True)
            own.eval().requires_grad_(False)
            own.regions = Regions()
        return Scene(self.config, vit, convnext, self.batch, self.canvas)

    def bare_vit(self) -> Tensor:
        """open_clip's call for the feature layer's patch tokens, layers after it not run: [1 + rows*cols, g*g, D]."""
        layer = feature_index(self.config.vit.feature_layer, self.config.vit.layers) - 1
        found = self.library_vit.forward_intermediates(
            self.pixels, indices=[layer], stop_early=True, intermediates_only=True, output_fmt="NLC"
        )
        return found["image_intermediates"][0]

    def bare_convnext(self) -> list[Tensor]:
        """timm's call for its four stage maps."""
        return list(self.convnext.trunk.forward_intermediates(self.detail, intermediates_only=True))  # type: ignore[arg-type]

    def encoder(self, arm: str, **fusion: str) -> HybridEncoder:
        """The hybrid encoder of an arm, on the shared towers: a fusion by name, with other fields of it."""
        config = self.config.model_copy(update={"fusion": self.config.fusion.model_copy(update={"name": arm, **fusion})})
        return HybridEncoder(config, self.vit, self.convnext if has_convnext(config) else None).eval()

    def encode(self, encoder: HybridEncoder) -> Tensor:
        """An arm's whole call, from uint8 pixels to visual tokens."""
        return encoder(self.batch)
