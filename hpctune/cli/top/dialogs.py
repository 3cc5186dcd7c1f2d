"""A text on the whole screen, and the questions before something is changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Footer, Input, Label, Static


class TextScreen(ModalScreen[None]):
    """A text, until a key."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,j", "app.pop_screen", "back")]

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def compose(self) -> ComposeResult:
        """The text."""
        with VerticalScroll():
            yield Static(Text(self.text))
        yield Footer()


class Question(ModalScreen[None]):
    """Asks before something is done. ``ways``: what each button does with the text. ``example``: asks for a text."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "app.pop_screen", "no")]

    def __init__(self, words: str, ways: dict[str, Callable[[str], None]], example: str = "") -> None:
        super().__init__()
        self.words, self.ways, self.example = words, ways, example

    def compose(self) -> ComposeResult:
        """The words, the text, the buttons."""
        with Vertical(id="question"):
            yield Label(self.words, markup=False)
            if self.example:
                yield Input(placeholder=self.example)
            with Horizontal():
                yield Button("No", id="no")
                for number_, name in enumerate(self.ways):
                    yield Button(name, id=f"way-{number_}", variant="warning")

    @on(Input.Submitted)
    def entered(self) -> None:
        """Enter in the text: the first way."""
        self._do(next(iter(self.ways)))

    @on(Button.Pressed)
    def pressed(self, event: Button.Pressed) -> None:
        """Do it, or not."""
        if event.button.id == "no":
            self.app.pop_screen()
        else:
            self._do(list(self.ways)[int(str(event.button.id).removeprefix("way-"))])

    def _do(self, name: str) -> None:
        text = self.query_one(Input).value if self.example else ""
        self.app.pop_screen()
        self.ways[name](text)
