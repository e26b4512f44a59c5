"""Train the graph networks on labelled features.

Reads feature files and labels, a pair for each feature space; writes a folder with the weights of GCN-D
and GCN-S (safetensors: one network per fold, whose mean is the prediction) and a model card. Each
network is trained on sets drawn from the people outside its fold and stopped by the people inside.
A stopped run goes on from its last epoch.

    python train.py --set mix.bin mix_labels.txt --output trained
"""

import argparse
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # which PYTHONSAFEPATH leaves out

from common import cli
from common.inputs import require_file
from common.progress import elapsed, log

EXAMPLES = """  sh run_train.sh --set mix.bin mix_labels.txt --output trained
  sh run_train.sh --set a.bin people.txt --set b.bin people.txt --dim 128"""


def get_parser() -> argparse.ArgumentParser:
    """The arguments of training."""
    parser = cli.make_parser("run_train.sh", "Train the graph networks on labelled features.", EXAMPLES)
    parser.add_argument(
        "--set",
        type=Path,
        nargs=2,
        action="append",
        required=True,
        metavar=("FEATURES", "LABELS"),
        help="a feature file and its labels; once for each feature space",
    )
    parser.add_argument(
        "--dim", type=cli.at_least(1), help="length of a row, where no .json lies beside the features"
    )
    parser.add_argument("--output", type=cli.output_path, default=Path("trained"), help="folder to write")
    parser.add_argument(
        "--folds",
        type=cli.at_least(2),
        default=4,
        help="parts of the people, one network for each",
    )
    parser.add_argument(
        "--draws", type=cli.at_least(1), default=48, help="resampled large sets from each feature space"
    )
    parser.add_argument("--epochs", type=cli.at_least(1), default=5, help="most epochs of a network")
    parser.add_argument(
        "--patience", type=cli.at_least(1), default=4, help="epochs without improvement before it stops"
    )
    parser.add_argument(
        "--learning-rate", type=cli.at_least(1e-9), default=3e-3, help="highest learning rate"
    )
    parser.add_argument("--seed", type=cli.at_least(0), default=0, help="seed of every random choice")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--restart", action="store_true", help="start over instead of going on")
    return parser


def main(args: argparse.Namespace) -> None:
    """Train both networks for each fold, scored on people they never saw; write weights and card."""
    for path in sum(args.set, []):
        require_file(path, "give --set a feature file and its labels")
    import torch

    from model.device import choose_device
    from model.gcn import GCND, GCNS, save_networks
    from pipeline.files.atomic import refuse_foreign, whole_file
    from pipeline.files.locks import only_run
    from pipeline.training.problems import read_set
    from stages import training

    device = choose_device(args.device)
    torch.set_num_threads(1)  # batches are too small to divide: threads would wait for one another
    sets = [read_set(features, labels, args.dim, args.folds) for features, labels in args.set]
    with only_run(args.output):
        checkpoint, card_path = args.output / "checkpoint.pt", args.output / "README.md"
        refuse_foreign(card_path, training.CARD_MARK)
        refuse_foreign(checkpoint, training.CHECKPOINT_MARK)
        for network_class in (GCND, GCNS):
            refuse_foreign(args.output / network_class.file_name, network_class.kind.encode())
        if args.restart:
            checkpoint.unlink(missing_ok=True)
        progress = training.load_progress(checkpoint, training.run_key(args, sets))
        scores = [
            training.train_fold(args, sets, fold, device, progress, checkpoint) for fold in range(args.folds)
        ]
        for network_class in (GCND, GCNS):
            networks = [
                training.with_weights(network_class, done[network_class.kind]) for done in progress["folds"]
            ]
            with whole_file(args.output / network_class.file_name) as part:
                save_networks(part, networks)
        card = training.model_card(shlex.join(command_of(args)), args, sets, scores)
        with whole_file(card_path) as part:
            part.write_text(card, encoding="utf-8")
        checkpoint.unlink(missing_ok=True)
    log(card)
    log(
        f"{args.output}: {args.folds} networks of each kind in {elapsed():.0f} s; "
        f"next: sh run_predict.sh --weights {shlex.quote(str(args.output))}"
    )


def command_of(args: argparse.Namespace) -> list[str]:
    """The command with the options that differ from the defaults, file names without their folders."""
    words = ["sh", "run_train.sh"]
    for features, labels in args.set:
        words += ["--set", features.name, labels.name]
    parser = get_parser()
    for name in ("dim", "folds", "draws", "epochs", "patience", "learning_rate", "seed"):
        if getattr(args, name) != parser.get_default(name):
            words += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
    return words


if __name__ == "__main__":
    hint = "run the same command again: it goes on from the last epoch"
    sys.exit(cli.run(main, get_parser(), resume_hint=hint))
