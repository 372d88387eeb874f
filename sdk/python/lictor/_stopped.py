"""How the host ends a call, for tests."""


class Stopped(BaseException):
    """The host ended the call: by a trap, at a limit, or because nobody reads the reply. No code of a plugin catches that.

    `code` is what the client gets: `timeout`, `plugin-limit`, `plugin-trapped` or `cancelled`.
    """

    def __init__(self, code: str, message: str):
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message
