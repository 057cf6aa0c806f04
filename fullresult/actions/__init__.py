"""Deeds: resend, cancel, trigger and the like; each audited, whichever door asked."""
