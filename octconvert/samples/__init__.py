"""Reading samples for a model, in bounded memory.

In: paths of .npz, .npy and image files, directories of images, arrays, datasets, iterables; and the model that they are
for. Out: `Samples`, checked arrays with one axis of samples, one for each input of the model.

The way of the data: `sources` recognises the kind and makes a `ChunkSource` of it (`archives`, `arrays`, `images`,
`streams`); `Intake` prepares and checks one chunk after the other; `Store` keeps them in memory or in temporary files.
"""

from octconvert.samples.reading import read_samples
from octconvert.samples.values import Samples

__all__ = ["Samples", "read_samples"]
