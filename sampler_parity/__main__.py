"""``python -m sampler_parity`` is ``sampler-parity``."""

from sampler_parity.cli import main

if __name__ == "__main__":
    main()
