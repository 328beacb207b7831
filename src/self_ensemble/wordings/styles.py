"""The styles of rewording: for each an instruction and examples, in two forms.

A question is reworded into a question ("Who wrote Dracula?"); a cloze sentence, whose blank is
`[MASK]`, into a cloze sentence. Each round of a run asks in another style, so that the wordings
differ in kind and not only in a word.

Every example keeps the names and numbers of its original, none gives the answer away, and half of
the originals are lower-case, as web users write. No example is taken from a data set.
"""

from dataclasses import dataclass, replace

from self_ensemble.questions.schema import Framing, Shot

BLANK = "[MASK]"  # as myriadlama writes the answer's place

FRAMING = Framing(wording="Question: {}\n", cue="Rewording:", answer=" {}\n\n")
CLOZE_FRAMING = Framing(wording="Sentence: {}\n", cue="Rewording:", answer=" {}\n\n")


@dataclass(frozen=True, slots=True)
class Style:
    """One way to reword.

    Attributes:
        name: Name in result files.
        questions: Instruction and examples for questions.
        clozes: Instruction and examples for cloze sentences.
    """

    name: str
    questions: "Prompt"
    clozes: "Prompt"


@dataclass(frozen=True, slots=True)
class Prompt:
    """What stands in front of the text to reword.

    Attributes:
        instruction: First lines of the prompt.
        shots: Examples: a text and its rewording.
        framing: How text and cue are written.
    """

    instruction: str
    shots: tuple[Shot, ...]
    framing: Framing

    def reversed(self) -> "Prompt":
        """The same with each example turned round: from the rewording to the text."""
        shots = tuple(Shot(shot.answer, shot.wording) for shot in self.shots)
        return replace(self, shots=shots)


def is_cloze(text: str) -> bool:
    """Whether a text has a blank to fill in."""
    return BLANK in text


def _questions(instruction: str, *pairs: tuple[str, str]) -> Prompt:
    return Prompt(f"{instruction}\n\n", tuple(Shot(*pair) for pair in pairs), FRAMING)


def _clozes(instruction: str, *pairs: tuple[str, str]) -> Prompt:
    text = f"{instruction} Keep {BLANK} where the answer belongs.\n\n"
    return Prompt(text, tuple(Shot(*pair) for pair in pairs), CLOZE_FRAMING)


PLAIN = Style(
    "plain",
    _questions(
        "Ask the same question in other words. Keep all names and numbers.",
        ("who painted the ceiling of the sistine chapel?",
         "Which artist did the paintings on the ceiling of the Sistine Chapel?"),
        ("What is the currency of Hungary?", "Which money do people pay with in Hungary?"),
        ("where did marie curie grow up?", "In what place did Marie Curie spend her youth?"),
        ("When did the Titanic sink?", "On what date did the Titanic go down?"),
        ("how long is the great wall of china?",
         "What is the total length of the Great Wall of China?"),
        ("what team did pele play for in 1976?",
         "Which club had Pele as a player in 1976?"),
    ),
    _clozes(
        "Say the same in other words.",
        ("Heidi was written by [MASK].", "The author of Heidi is [MASK]."),
        ("Lake Balaton is located in [MASK].", "You can find Lake Balaton in [MASK]."),
        ("Pierre Boulez plays [MASK].", "The instrument of Pierre Boulez is [MASK]."),
        ("The Fiat 500 is produced by [MASK].", "[MASK] is the maker of the Fiat 500."),
        ("Ada Lovelace died in [MASK].", "The place where Ada Lovelace died is [MASK]."),
    ),
)  # fmt: skip

# In the order of the rounds: first those in which most wordings of a small model can be used.
STYLES = (
    Style(
        "end",
        _questions(
            "Put the question word at the end. Keep all names and numbers.",
            ("who invented the telescope?", "The telescope was invented by whom?"),
            ("What is the capital of Kenya?", "The capital of Kenya is what city?"),
            ("what county is oxford in?", "Oxford is in what county?"),
            ("When was Nelson Mandela released?", "Nelson Mandela was released in what year?"),
            ("what kind of music did bob marley play?",
             "Bob Marley played what kind of music?"),
            ("where does the danube end?", "The Danube ends where?"),
        ),
        _clozes(
            "Put the name first and the blank last.",
            ("[MASK] wrote Heidi.", "Heidi was written by [MASK]."),
            ("[MASK] is the country of Lake Balaton.", "Lake Balaton belongs to [MASK]."),
            ("[MASK] is played by Pierre Boulez.", "Pierre Boulez plays the [MASK]."),
            ("[MASK] produces the Fiat 500.", "The Fiat 500 is a product of [MASK]."),
            ("[MASK] is where Ada Lovelace died.", "Ada Lovelace passed away in [MASK]."),
        ),
    ),
    Style(
        "polite",
        _questions(
            "Ask politely, in a full sentence. Keep all names and numbers.",
            ("who discovered penicillin?", "Could you tell me who discovered penicillin?"),
            ("What is the highest mountain in Africa?",
             "Do you know which mountain is the highest in Africa?"),
            ("where did napoleon die?", "Can you say at what place Napoleon died?"),
            ("When did Sweden join the EU?",
             "Could you tell me when Sweden became part of the EU?"),
            ("what does nasa stand for?", "Would you tell me what the letters NASA mean?"),
            ("who is the coach of ajax?", "May I ask who coaches Ajax?"),
        ),
        _clozes(
            "Say it in a longer sentence.",
            ("Heidi was written by [MASK].", "It was [MASK] who wrote the book Heidi."),
            ("Lake Balaton is located in [MASK].",
             "If you want to see Lake Balaton, you must go to [MASK]."),
            ("Pierre Boulez plays [MASK].", "It is the [MASK] that Pierre Boulez plays."),
            ("The Fiat 500 is produced by [MASK].",
             "The company that produces the Fiat 500 is called [MASK]."),
            ("Ada Lovelace died in [MASK].", "It was in [MASK] that Ada Lovelace died."),
        ),
    ),
    Style(
        "noun",
        _questions(
            "Turn the verb of the question into a noun. Keep all names and numbers.",
            ("who wrote robinson crusoe?", "Who is the writer of Robinson Crusoe?"),
            ("Where was Frida Kahlo born?", "What is the birthplace of Frida Kahlo?"),
            ("what does ikea sell?", "What are the products of IKEA?"),
            ("When did the Korean War start?", "What was the start date of the Korean War?"),
            ("who did john lennon marry?", "Who was the wife of John Lennon?"),
            ("what language do people speak in peru?", "What is the language of people in Peru?"),
        ),
        _clozes(
            "Turn the verb of the sentence into a noun.",
            ("Heidi was written by [MASK].", "The writer of Heidi was [MASK]."),
            ("Lake Balaton is located in [MASK].", "The location of Lake Balaton is [MASK]."),
            ("Pierre Boulez plays [MASK].", "Pierre Boulez is a player of the [MASK]."),
            ("The Fiat 500 is produced by [MASK].", "The producer of the Fiat 500 is [MASK]."),
            ("Ada Lovelace died in [MASK].", "The death of Ada Lovelace was in [MASK]."),
        ),
    ),
    Style(
        "which",
        _questions(
            "Ask the same question with 'which' or 'in which'. Keep all names and numbers.",
            ("where is the matterhorn?", "In which country is the Matterhorn located?"),
            ("Who composed The Magic Flute?", "Which composer wrote The Magic Flute?"),
            ("what year did elvis presley die?",
             "In which year did the death of Elvis Presley occur?"),
            ("What do koalas eat?", "Which food do koalas live on?"),
            ("what sport does serena williams play?",
             "Which sport is Serena Williams a player of?"),
            ("who was king of france in 1700?", "Which king ruled France in 1700?"),
        ),
        _clozes(
            "Ask with 'which' and end with the blank.",
            ("Heidi was written by [MASK].", "Which author wrote Heidi? [MASK]."),
            ("Lake Balaton is located in [MASK].", "In which country is Lake Balaton? [MASK]."),
            ("Pierre Boulez plays [MASK].", "Which instrument does Pierre Boulez play? [MASK]."),
            ("The Fiat 500 is produced by [MASK].", "Which company makes the Fiat 500? [MASK]."),
            ("Ada Lovelace died in [MASK].", "In which place did Ada Lovelace die? [MASK]."),
        ),
    ),
    Style(
        "name",
        _questions(
            "Begin the question with 'What is the name of'. Keep all names and numbers.",
            ("who founded microsoft?", "What is the name of the person who founded Microsoft?"),
            ("Which river flows through Rome?",
             "What is the name of the river that flows through Rome?"),
            ("who played neo in the matrix?",
             "What is the name of the actor who played Neo in The Matrix?"),
            ("Where was the first Olympic Games held?",
             "What is the name of the place where the first Olympic Games was held?"),
            ("what currency does japan use?",
             "What is the name of the currency that Japan uses?"),
            ("who won the world cup in 2006?",
             "What is the name of the country that won the World Cup in 2006?"),
        ),
        _clozes(
            "Begin the sentence with 'The name of'.",
            ("Heidi was written by [MASK].", "The name of the author of Heidi is [MASK]."),
            ("Lake Balaton is located in [MASK].",
             "The name of the country where Lake Balaton lies is [MASK]."),
            ("Pierre Boulez plays [MASK].",
             "The name of the instrument that Pierre Boulez plays is [MASK]."),
            ("The Fiat 500 is produced by [MASK].",
             "The name of the producer of the Fiat 500 is [MASK]."),
            ("Ada Lovelace died in [MASK].",
             "The name of the place where Ada Lovelace died is [MASK]."),
        ),
    ),
    PLAIN,
    Style(
        "synonyms",
        _questions(
            "Replace words of the question with synonyms. Keep all names and numbers.",
            ("who built the eiffel tower?", "Who constructed the Eiffel Tower?"),
            ("What is the largest island of Greece?", "What is the biggest island of Greece?"),
            ("what movies did alfred hitchcock direct?",
             "What films did Alfred Hitchcock make?"),
            ("Where did Charles Darwin study?", "Where did Charles Darwin go to university?"),
            ("what is the main religion in thailand?",
             "What is the most common faith in Thailand?"),
            ("when did the battle of verdun begin?", "When did the Battle of Verdun start?"),
        ),
        _clozes(
            "Replace words of the sentence with synonyms.",
            ("Heidi was written by [MASK].", "Heidi was authored by [MASK]."),
            ("Lake Balaton is located in [MASK].", "Lake Balaton is situated in [MASK]."),
            ("Pierre Boulez plays [MASK].", "Pierre Boulez performs on the [MASK]."),
            ("The Fiat 500 is produced by [MASK].", "The Fiat 500 is manufactured by [MASK]."),
            ("Ada Lovelace died in [MASK].", "Ada Lovelace passed away in [MASK]."),
        ),
    ),
    Style(
        "short",
        _questions(
            "Ask the same question as simply as you can. Keep all names and numbers.",
            ("What is the name of the author of Dracula?", "Who wrote Dracula?"),
            ("in what city can you visit the prado museum?",
             "Where can you visit the Prado Museum?"),
            ("In which year did World War I come to an end?", "When did World War I end?"),
            ("what is the profession of angela merkel?", "What does Angela Merkel work as?"),
            ("Which languages are spoken by the people of Belgium?",
             "What do people speak in Belgium?"),
            ("who was it that killed john lennon?", "Who murdered John Lennon?"),
        ),
        _clozes(
            "Say the same as simply as you can.",
            ("The author of the book Heidi is [MASK].", "[MASK] wrote Heidi."),
            ("The country where Lake Balaton lies is [MASK].", "Lake Balaton is in [MASK]."),
            ("The instrument of Pierre Boulez is the [MASK].", "Pierre Boulez plays [MASK]."),
            ("The company that produces the Fiat 500 is [MASK].", "[MASK] makes the Fiat 500."),
            ("The place where Ada Lovelace died is [MASK].", "Ada Lovelace died in [MASK]."),
        ),
    ),
)  # fmt: skip
