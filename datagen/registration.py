"""Two visits brought to their middle space: each is moved halfway, so both are treated alike."""

from collections.abc import Sequence
from typing import NamedTuple

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813 - its own documentation does so
from jaxtyping import Bool, Float
from nibabel.affines import voxel_sizes
from scipy.linalg import sqrtm
from scipy.spatial.transform import Rotation

from datagen.errors import InputError
from datagen.resampling import resample
from datagen.volumes import grid_of, working_grid

Matrix = Float[np.ndarray, "4 4"]

CUBE_MM = 2.0  # edge of the voxels on which images are registered
# ITK's x and y axes point to the left and to the back, NIfTI's to the right and to the front
_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
_MOST_SHEAR = 1e-3
_BIAS_MM = 4.0
_AROUND_BRAIN_MM = 4.0


class Middle(NamedTuple):
    """Rigid maps, in RAS+ millimetres, from the middle space into the space of either visit."""

    to_time1: Matrix
    to_time2: Matrix

    @property
    def rotation_degrees(self) -> float:
        """Angle by which the head was turned from visit to visit."""
        between = self.to_time1 @ np.linalg.inv(self.to_time2)
        return float(np.degrees(Rotation.from_matrix(between[:3, :3]).magnitude()))


class Registered(NamedTuple):
    """A transform from the fixed image's space to the moving one's, and its metric: lower fits."""

    transform: sitk.Transform
    metric: float


def use_threads(count: int) -> None:
    """Let every filter use so many threads."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(count)


def to_itk(image: nib.Nifti1Image) -> sitk.Image:
    """Hand a volume over as float32. Raises InputError where its axes are not at right angles."""
    affine = _FLIP @ image.affine
    spacing = voxel_sizes(affine)
    axes = affine[:3, :3] / spacing
    if np.abs(axes.T @ axes - np.eye(3)).max() > _MOST_SHEAR:
        raise InputError("its axes are not at right angles; resample it onto a straight grid first")
    left, _, right = np.linalg.svd(axes)
    data = np.asanyarray(image.dataobj).astype(np.float32)
    handed = sitk.GetImageFromArray(np.ascontiguousarray(data.transpose(2, 1, 0)))
    handed.SetSpacing(spacing.tolist())
    handed.SetOrigin(affine[:3, 3].tolist())
    handed.SetDirection((left @ right).ravel().tolist())
    return handed


def from_itk(image: sitk.Image) -> np.ndarray:
    """Take the values back, in the order of NIfTI's axes."""
    values: np.ndarray = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
    return values


def in_cubes(image: nib.Nifti1Image) -> sitk.Image:
    """Hand a volume over on a grid of cubic voxels."""
    grid = working_grid(grid_of(image), CUBE_MM)
    return to_itk(nib.Nifti1Image(resample(image, grid), grid.affine))


def correct_bias(image: nib.Nifti1Image) -> nib.Nifti1Image:
    """Divide by the bias field that N4 (Tustison et al. 2010) finds in the head at 4 mm."""
    scan = to_itk(image)
    head = sitk.OtsuThreshold(scan, 0, 1, 200)
    factors = [max(1, round(_BIAS_MM / side)) for side in scan.GetSpacing()]
    correction = sitk.N4BiasFieldCorrectionImageFilter()
    correction.SetMaximumNumberOfIterations([50, 50, 30])
    correction.Execute(sitk.Shrink(scan, factors), sitk.Shrink(head, factors))
    field = from_itk(correction.GetLogBiasFieldAsImage(scan))
    corrected = np.asanyarray(image.dataobj) / np.exp(field)
    return nib.Nifti1Image(corrected.astype(np.float32), image.affine)


def find_middle(
    time1: nib.Nifti1Image, time2: nib.Nifti1Image, brain: Bool[np.ndarray, "x y z"]
) -> Middle:
    """Register visit 1 rigidly to the brain of visit 2, and share the movement between both.

    Mutual information (Mattes) over the brain. Two starts are tried, the scanner's coordinates and
    the centres of mass, and the better is followed. RuntimeError where neither lets the brain
    overlap with visit 1.
    """
    fixed, moving = in_cubes(time2), in_cubes(time1)
    around = dilated(in_cubes(nib.Nifti1Image(brain.astype(np.uint8), time2.affine)))
    moments = sitk.CenteredTransformInitializerFilter.MOMENTS
    by_mass = sitk.Euler3DTransform(
        sitk.CenteredTransformInitializer(fixed, moving, sitk.Euler3DTransform(), moments)
    )
    as_scanned = sitk.Euler3DTransform(by_mass)
    as_scanned.SetTranslation((0.0, 0.0, 0.0))
    best = _best_start(fixed, moving, (as_scanned, by_mass), around)
    fine = register(fixed, moving, best.transform, around, (2.0,))
    from_time2 = np.linalg.inv(_FLIP) @ _as_matrix(fine.transform) @ _FLIP
    half = np.real(sqrtm(from_time2))
    return Middle(half, np.linalg.inv(half))


def _best_start(
    fixed: sitk.Image, moving: sitk.Image, starts: Sequence[sitk.Transform], region: sitk.Image
) -> Registered:
    found, errors = list[Registered](), list[RuntimeError]()
    for start in starts:
        try:
            found.append(register(fixed, moving, start, region, (8.0, 4.0)))
        except RuntimeError as error:  # nothing overlaps: a visit has lost its place in the scanner
            errors.append(error)
    if not found:
        raise errors[0]
    return min(found, key=lambda one: one.metric)


def register(
    fixed: sitk.Image,
    moving: sitk.Image,
    start: sitk.Transform,
    region: sitk.Image,
    levels_mm: tuple[float, ...],
) -> Registered:
    """Follow the slope of the mutual information in a region of the fixed image, level by level."""
    method = mutual_information(region, levels_mm)
    method.SetInitialTransform(start, inPlace=False)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, 100)
    method.SetOptimizerScalesFromPhysicalShift()
    found = sitk.CompositeTransform(method.Execute(fixed, moving)).GetNthTransform(0)
    return Registered(type(start)(found), method.GetMetricValue())


def mutual_information(
    region: sitk.Image, levels_mm: tuple[float, ...]
) -> sitk.ImageRegistrationMethod:
    """Return a registration over a third of a region's voxels, blurred as each level says."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricFixedMask(region)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(0.3)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetShrinkFactorsPerLevel([max(1, round(level / CUBE_MM)) for level in levels_mm])
    method.SetSmoothingSigmasPerLevel([level / 2 for level in levels_mm])
    method.SetSmoothingSigmasAreSpecifiedInPhysicalUnits(True)
    return method


def dilated(mask: sitk.Image) -> sitk.Image:
    """Return where a mask of cubic voxels is above one half, grown by 4 mm."""
    return sitk.BinaryDilate(mask > 0.5, [round(_AROUND_BRAIN_MM / CUBE_MM)] * 3)


def _as_matrix(rigid: sitk.Transform) -> Matrix:
    """Return the 4 × 4 matrix of a rigid transform, in ITK's coordinates."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(rigid.GetMatrix(), (3, 3))
    matrix[:3, 3] = rigid.TransformPoint((0.0, 0.0, 0.0))
    return matrix
