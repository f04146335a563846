"""The brain in a FLAIR scan of a whole head, found by fitting the MNI template to it."""

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813 - its own documentation does so
from jaxtyping import Bool

from datagen.anatomy import Anatomy, load_anatomy
from datagen.registration import dilated, in_cubes, mutual_information, register, to_itk

# where the brain may lie in a field of view, above or below its middle: necks differ
_STARTS_MM = (10.0, -15.0, -40.0)
_MESH_MM = 25.0
_ITERATIONS = 30  # of the bending
# what FLAIR shows of each tissue, next to grey matter
_WHITE, _FLUID = 0.8, 0.1
_BRIGHTEST = 99  # percentile: fat and eyes above it are cut off


def find_brain(head: nib.Nifti1Image) -> Bool[np.ndarray, "x y z"]:
    """Return the mask of the brain, its fluid included, on the grid of the scan.

    The template (see `load_anatomy`) is moved by a rigid, then an affine transform, then by
    B-splines of 25 mm, each following the mutual information around the brain. Where the head does
    not lie upright along the scanner's axes the start may be too far off.
    """
    anatomy = load_anatomy()
    template = in_cubes(_as_flair(anatomy))
    brain = nib.Nifti1Image(anatomy.brain_mask.astype(np.float32), anatomy.affine)
    scan = in_cubes(_cut_off(head))
    place = _place(template, scan, dilated(in_cubes(brain)))
    around = sitk.Resample(dilated(in_cubes(brain)), scan, place, sitk.sitkNearestNeighbor, 0)
    extent = np.multiply(scan.GetSize(), scan.GetSpacing())
    mesh = [max(1, round(side / _MESH_MM)) for side in extent]
    bending = sitk.BSplineTransformInitializer(scan, mesh, 3)
    method = mutual_information(around, (4.0,))
    method.SetMovingInitialTransform(place)
    method.SetInitialTransform(bending, inPlace=True)
    method.SetOptimizerAsLBFGSB(numberOfIterations=_ITERATIONS, maximumNumberOfCorrections=5)
    method.Execute(scan, template)
    bent = sitk.CompositeTransform([place, bending])
    found = sitk.Resample(to_itk(brain), to_itk(head), bent, sitk.sitkLinear, 0.0)
    mask: np.ndarray = sitk.GetArrayFromImage(found).transpose(2, 1, 0) > 0.5
    return mask


def _place(template: sitk.Image, scan: sitk.Image, around: sitk.Image) -> sitk.AffineTransform:
    """Return the affine transform from the scan's space into the template's."""
    middles = sitk.CenteredTransformInitializerFilter.GEOMETRY
    tried = []
    for up_mm in _STARTS_MM:
        start = sitk.Euler3DTransform(
            sitk.CenteredTransformInitializer(template, scan, sitk.Euler3DTransform(), middles)
        )
        start.SetTranslation(np.add(start.GetTranslation(), [0, 0, up_mm]).tolist())
        tried.append(register(template, scan, start, around, (8.0,)))
    rigid = min(tried, key=lambda found: found.metric).transform
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(rigid.GetMatrix())
    affine.SetTranslation(rigid.GetTranslation())
    affine.SetCenter(rigid.GetCenter())
    to_scan = register(template, scan, affine, around, (4.0, 2.0)).transform
    return sitk.AffineTransform(to_scan.GetInverse())


def _as_flair(anatomy: Anatomy) -> nib.Nifti1Image:
    shown = anatomy.grey + _WHITE * anatomy.white + _FLUID * anatomy.csf
    return nib.Nifti1Image(shown.astype(np.float32), anatomy.affine)


def _cut_off(head: nib.Nifti1Image) -> nib.Nifti1Image:
    """Scale a scan to its brightest percent, and cut that off."""
    data = np.asanyarray(head.dataobj).astype(np.float32)
    brightest = np.percentile(data[data > 0], _BRIGHTEST)
    return nib.Nifti1Image(np.clip(data / brightest, 0, 1.2).astype(np.float32), head.affine)
