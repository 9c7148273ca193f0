"""What people see of the control plane, and its JSON twin."""
