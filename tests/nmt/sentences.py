"""Real German and English sentences for small corpora, and their files."""

PAIRS = [
    ("Guten Morgen, wie geht es dir?", "Good morning, how are you?"),
    (
        "Der Zug nach Berlin hat heute zwanzig Minuten Verspätung.",
        "The train to Berlin is twenty minutes late today.",
    ),
    ("Wir haben das Haus im letzten Sommer gestrichen.", "We painted the house last summer."),
    ("Kannst du mir bitte das Salz geben?", "Can you pass me the salt, please?"),
    ("Das Kind schläft schon seit zwei Stunden.", "The child has been asleep for two hours."),
    ("Ich habe meinen Schlüssel im Büro vergessen.", "I left my key at the office."),
    ("Sie spielt jeden Abend eine Stunde Klavier.", "She plays the piano for an hour every evening."),
    ("Der Hund bellt, wenn jemand an der Tür ist.", "The dog barks when someone is at the door."),
    ("Morgen soll es den ganzen Tag regnen.", "It is supposed to rain all day tomorrow."),
    ("Mein Bruder arbeitet in einem Krankenhaus.", "My brother works in a hospital."),
    ("Hast du das Buch schon gelesen?", "Have you read the book yet?"),
    ("Die Brücke wird im nächsten Jahr repariert.", "The bridge will be repaired next year."),
    ("Wo ist der nächste Bahnhof?", "Where is the nearest station?"),
    ("Er trinkt seinen Kaffee ohne Zucker.", "He drinks his coffee without sugar."),
    ("Die Katze sitzt auf dem Fensterbrett.", "The cat is sitting on the window sill."),
    ("Wir treffen uns um acht Uhr vor dem Kino.", "We are meeting in front of the cinema at eight."),
    ("Das Fenster lässt sich nicht öffnen.", "The window will not open."),
    ("Im Winter fahren wir oft in die Berge.", "In winter we often go to the mountains."),
    ("Sie hat den Brief gestern abgeschickt.", "She sent the letter yesterday."),
    ("Dieses Brot schmeckt besser als das andere.", "This bread tastes better than the other one."),
    ("Ich verstehe die Frage nicht.", "I do not understand the question."),
    ("Der Garten ist im Frühling am schönsten.", "The garden is most beautiful in spring."),
    ("Bitte schalten Sie Ihr Telefon aus.", "Please switch off your phone."),
    ("Er wohnt seit zehn Jahren in Hamburg.", "He has lived in Hamburg for ten years."),
    ("Die Suppe ist noch zu heiß.", "The soup is still too hot."),
    ("Wann fängt der Unterricht an?", "When does the lesson begin?"),
    ("Mein Fahrrad hat einen Platten.", "My bicycle has a flat tyre."),
    ("Sie lernt seit einem Jahr Spanisch.", "She has been learning Spanish for a year."),
    ("Das Museum ist montags geschlossen.", "The museum is closed on Mondays."),
    ("Ich hätte gern ein Glas Wasser.", "I would like a glass of water."),
    ("Der Film war länger, als ich dachte.", "The film was longer than I thought."),
    ("Die Kinder spielen im Hof Fußball.", "The children are playing football in the yard."),
    ("Wir müssen die Rechnung noch bezahlen.", "We still have to pay the bill."),
    ("Am Abend wurde es plötzlich kalt.", "In the evening it suddenly turned cold."),
    ("Niemand wusste die Antwort.", "Nobody knew the answer."),
    ("Der Bäcker öffnet um sechs Uhr.", "The baker opens at six o'clock."),
]
TRAIN, VALID, TEST, NEWS = PAIRS[:24], PAIRS[24:28], PAIRS[28:32], PAIRS[32:]


def write(folder, name, pairs):
    """Write ``name.de`` and ``name.en``; their prefix."""
    folder.mkdir(parents=True, exist_ok=True)
    for side, language in enumerate(("de", "en")):
        text = "".join(pair[side] + "\n" for pair in pairs)
        (folder / f"{name}.{language}").write_text(text, encoding="utf-8")
    return folder / name
