"""Names of the face networks, apart from the networks: --help need not load them."""

BACKBONE_NAMES = ("dlib", "resnet50", "iresnet18", "iresnet34", "iresnet50", "iresnet100")
