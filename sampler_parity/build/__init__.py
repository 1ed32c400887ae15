"""The compiled extension: present, fresh, instrumented."""
