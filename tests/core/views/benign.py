"""Honest texts of the kinds that encodings are mistaken for. All written for these tests."""

from typing import Final

#: Prose in languages other than English, and in English.
PROSE: Final = {
    "English": (
        "The ferry leaves at half past six, and if we miss it there is nothing until the morning. "
        "My sister keeps a notebook of every lake she has swum in; the coldest was in Norway."
    ),
    "German": (
        "Die Nachbarn haben gestern den Zaun gestrichen, obwohl es am Nachmittag regnen sollte. "
        "Kannst du mir erklären, wie man einen Antrag auf Verlängerung schreibt?"
    ),
    "French": (
        "Le marché ouvre à sept heures\u00a0; on y trouve des légumes, du fromage et des fleurs. "
        "Pourriez-vous m’écrire une lettre de remerciement pour mes voisins\u00a0?"
    ),
    "Spanish": (
        "El tren salió con retraso, así que llegamos cuando la función ya había empezado. "
        "¿Podrías resumir este artículo sobre las mareas en tres frases?"
    ),
    "Italian": (
        "Abbiamo piantato i pomodori vicino al muro, dove il sole arriva già al mattino. "
        "Mi consigli una ricetta con le zucchine che non richieda il forno?"
    ),
    "Portuguese": (
        "A praia fica a dez minutos daqui, mas no inverno quase ninguém aparece por lá. "
        "Você pode explicar a diferença entre estas duas palavras?"
    ),
    "Dutch": (
        "De fietsenmaker zei dat het wiel pas donderdag klaar is, dus we gaan met de tram. "
        "Kun je een korte toespraak schrijven voor het afscheid van een collega?"
    ),
    "Polish": (
        "Wczoraj wieczorem długo padało, dlatego ścieżka przez las była bardzo śliska. "
        "Proszę napisać krótkie podziękowanie dla nauczycielki matematyki."
    ),
    "Finnish": (
        "Mökin katto korjattiin viime kesänä, mutta laituri odottaa vielä uusia lautoja. "
        "Voisitko selittää, miten leivinuuni lämmitetään oikein?"
    ),
    "Russian": "Мне нужно подготовить короткий отчёт о поездке, всё остальное подождёт до утра.",
    "Greek": "Το σπίτι είναι κοντά στη θάλασσα και ο καιρός το καλοκαίρι είναι καλός.",
    "Arabic": "اكتب لي رسالة قصيرة إلى صديقي، من فضلك، عن رحلتنا إلى الجبال.",
    "Hebrew": "אפשר לכתוב לי מכתב קצר לשכנים על הגינה המשותפת שמאחורי הבית?",
    "Amharic": "እባክህ ለጎረቤቴ ስለ አትክልት ቦታው አጭር ደብዳቤ ጻፍልኝ።",
    "Persian": "می‌خواهم نامه‌ای کوتاه برای همسایه‌ام بنویسم.",
    "Hindi": "मुझे हिन्दी में एक छोटी कहानी सुनाओ, जिसमें क्‍षमा की बात हो।",
    "Thai": "ช่วยเขียนจดหมายสั้นๆ ให้เพื่อนบ้านเกี่ยวกับการทํางานในสวน",
    "Chinese": "请总结以下文章的主要内容，谢谢！第一：天气（晴）；第二：交通。",
    "Japanese": "来週の会議の議題を三つにまとめてください。よろしくお願いします！",
    "Korean": "다음 주 여행 계획을 짧게 요약해 주세요. 고맙습니다!",
}
#: What machines and people of trade write.
TECHNICAL: Final = {
    "Python": (
        "def total(rows: list[dict[str, float]]) -> float:\n"
        '    """Sum of what each row costs."""\n'
        "    cost = 0.0\n    for row in rows:\n        cost += row['price'] * row.get('n', 1)\n"
        "    return round(cost, 2)\n"
    ),
    "JavaScript": (
        "const nodes = [...document.querySelectorAll('.item')].filter((n) => n.dataset.id);\n"
        "export default function render({ items, onClick }) { return items.map(onClick); }\n"
    ),
    "shell": "for f in *.log; do grep -c 'ERROR' \"$f\" || true; done | sort -rn | head -20",
    "log": (
        "2024-05-11T08:14:22.031Z INFO  http.server request_id=6f1c2a9e status=200 bytes=5120\n"
        "2024-05-11T08:14:23.114Z WARN  db.pool waited 312 ms for a connection (size=20)\n"
    ),
    "UUIDs and hashes": (
        "9b2f6c1e-83d4-4f0a-9a55-0c7de1b4a8f3 and "
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855, see d41d8cd9"
    ),
    "paths": (
        "src/main/java/org/example/garden/handlers/ReportHandler.java and "
        "node_modules/react-dom/cjs/react-dom-server.node.production.min.js, "
        "/usr/lib/python3/dist-packages/numpy/core/include, a/b/c, either/or, x-forwarded-for, "
        "my_very_long_name_of_a_function_that_counts, get-all-the-lines-of-a-file/and_more"
    ),
    "ids and digests": (
        "sha384-oqVuAfXRKap7fdgcCY5uykM6+R9GqQ8K/uxy9rx7HNQlGYl1kPzQho1wx4JwY8wC "
        "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12 deadbeefcafebabefeedfacedecade00 "
        "req_011CSHoEeqs5C35K2UUqR7Fy dQw4w9WgXcQ chatcmpl-9Xk2/aB+cD3eF4gH_5iJ "
        "arn:aws:iam::123456789012:role/aws-service-role/support Zm9v/YmFy+cXV4"
    ),
    "JSON": (
        '{"items":[{"sku":"AB-1044","qty":3,"price":12.5},{"sku":"ZX-2210","qty":1}],'
        '"currency":"EUR","paid":true,"note":null}'
    ),
    "CSV": "id,age,height,weight\n1,45,172,68\n2,39,181,77\n3,52,165,59\n4,61,170,80\n5,33,188,91\n",
    "numbers": "The readings were 72, 75, 71, 69, 74, 78, 80, 66, 73, 70, 68 and 77 in that order.",
    "LaTeX": (
        "\\begin{equation} \\nabla \\cdot \\mathbf{E} = \\frac{\\rho}{\\epsilon_0}, \\quad "
        "\\theta \\to \\tau, \\; f(x) = a x^2 + b x + c \\end{equation} \\textbf{Proof.} \\ref{one}"
    ),
    "table": "| a | b | c | d |\n| --- | --- | --- | --- |\n| 1 | 2 | 3 | 4 |\n| 5 | 6 | 7 | 8 |\n",
    "abbreviations": "e.g. the U.S.A., the N.A.T.O. treaty, a.m. and p.m., plan B, vitamins A, C and D.",
    "names of things": "python3, sha256, mp3, utf8, x86_64, IPv4, i18n, k8s, H2O, covid19, v1.0.2, 3D",
    "typography": "“Well…” she said\u2009—\u2009‘it’s 20\u00a0°C’. Foo™ costs 5\u00a0€ per m², see ① and ②.",
    "emoji": "Nice work 👍🏽 ❤️ 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 🇫🇷 🏴󠁧󠁢󠁳󠁣󠁴󠁿 1️⃣ see you!",
    "URL": "See https://example.com/docs/getting-started?lang=en&page=2#install for the steps.",
}
#: Of these a part is encoded, and honest: it is shown decoded.
ENCODED: Final = {
    "JWT": (
        "Authorization: Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
        "eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkEuIFVzZXIifQ.3fWqT0eRr8m1vY2lDk5xHn7bC9sZaQpJ6uGtOiLwE4"
    ),
    "HTML": "<p>Fish &amp; chips&nbsp;&ndash; &lt;fresh&gt; every day</p>",
    "URL with spaces": "https://example.com/search?q=garden%20chairs%20for%20two",
}
