"""The name that a command of another installation gives: ``python -m sampler_parity.host``."""

from sampler_parity.sandbox.host import main

if __name__ == "__main__":
    main()
