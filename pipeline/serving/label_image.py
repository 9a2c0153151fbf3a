"""Objects of a time frame for `/labelimage`: smoothed, thresholded and labelled as the service did that came before.

Its settings may change from one request to the next. Each makes a layer of its own, whose frames are found and kept
like those of any other (`pipeline.serving.label_frames`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipeline.config import settings
from pipeline.errors import TooLargeError
from pipeline.serving.label_layers import frame_layer
from pipeline.serving.layer import Layer
from pipeline.thresholding import Thresholding


@dataclass(frozen=True)
class LabelSettings:
    """What the old thresholding service could be told.

    Parameters
    ----------
    threshold : float
        Voxels above it belong to objects.
    channel : int
        Which class's probability.
    sigmas : tuple of float, optional
        Of the smoothing along x, y and, in 3-D, z, in voxels; 1 along each by default.
    """

    threshold: float = 0.5
    channel: int = 0
    sigmas: tuple[float, ...] | None = None

    def thresholding(self) -> Thresholding:
        """The same for `pipeline.labelling`."""
        base = Thresholding.old_service(self.channel, self.threshold)
        if self.sigmas is None:
            return base
        x, y, z = (*self.sigmas, 1.0)[:3]
        return replace(base, sigma_zyx=(z, y, x))


def label_image(probabilities: Layer, wanted: LabelSettings) -> Layer:
    """The layer of labels that the service would have given; uint32, numbers follow the first voxel, x fastest.

    Raises
    ------
    TooLargeError
        If a frame has more voxels than the setting `label_frame_voxels`.
    PlanError
        If the settings do not fit the probabilities.
    """
    whole, most = probabilities.whole(0), settings().label_frame_voxels
    voxels = whole.size // whole.shape[0]
    if voxels > most:
        raise TooLargeError(
            f"a frame of {probabilities.volume.name} has {voxels:,} voxels; up to {most:,} are labelled on request. "
            "Label the volume with: voxelforest segment PROJECT RAW OUT",
            code="label_frame",
        )
    return frame_layer(probabilities, wanted.thresholding(), "uint32")
