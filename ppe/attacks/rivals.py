"""Names of the attacks that see no identity, or only a part of the picture; ``ppe.attacks.appearance`` holds them.

They stand here, without torch, for those who read scores.
"""

RIVALS = ("pixel", "surroundings", "colour_histogram", "general")
"""They compare pictures by measures that were never trained to know people: a claim about identity has to beat each of them."""
PARTS = ("inner_face",)
PARTS_BY_MODEL = ("nearest_surroundings", "nearest_inner_face")
BASELINES = (*RIVALS, *PARTS, *PARTS_BY_MODEL)
