"""stub"""


def find(root, version):
    return None
