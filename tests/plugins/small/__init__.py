"""Small hosts: classes, signatures and files as published projects have them, little behind."""
