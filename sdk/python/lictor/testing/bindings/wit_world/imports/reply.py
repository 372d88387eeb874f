"""How a streamed reply ends. In a test the kit tells `lictor.testing` instead."""
