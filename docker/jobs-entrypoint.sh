#!/bin/sh
# What SageMaker starts in the jobs image: `train` for a training job, `serve` for a model; any other command as it is.
set -eu

case "${1:-}" in
    train)
        shift
        exec python3 -P /opt/millrace/training/script_mode.py "$@"
        ;;
    serve)
        shift
        exec python3 -P /opt/millrace/serving/server.py "$@"
        ;;
    "")
        echo "usage: train | serve | COMMAND [ARGUMENT...]" >&2
        exit 2
        ;;
    *)
        exec "$@"
        ;;
esac
