"""What files with secrets hold is hidden from the results of tools."""

from __future__ import annotations

from syntor.agentkit.domain.secret_text import MARK, secret_values, without_secrets

DIFF = """diff --git a/.env b/.env
index 1..2 100644
--- a/.env
+++ b/.env
@@ -1 +1 @@
-API_KEY=old
+API_KEY=new
diff --git a/src/app.py b/src/app.py
--- a/src/app.py
+++ b/src/app.py
@@ -1 +1 @@
+print(1)
"""


def test_changes_of_a_file_with_secrets_are_hidden_and_others_shown() -> None:
    text = without_secrets(DIFF, ())
    assert "API_KEY" not in text
    assert text.startswith(f"diff --git a/.env b/.env\n{MARK}\n")
    assert "+print(1)" in text


def test_lines_a_search_found_in_a_file_with_secrets_are_hidden() -> None:
    text = without_secrets("src/app.py:3: key = 1\n.env:1:DB=postgres\nsub/.env-2-x\n./server.pem:9:abc", ())
    assert text.split("\n")[0] == "src/app.py:3: key = 1"
    assert text.count(MARK) == 3
    assert "postgres" not in text


def test_values_of_keys_are_hidden_and_plain_words_are_not() -> None:
    plain = "NODE_ENV=production\nDEBUG=true\nPORT=8000\n"
    env = f"{plain}STRIPE_KEY=sk_live_1234\nDB_PASSWORD='pa55word!'\nSALT=a8f3b2c9d4e5f6a7b8c9d0\n"
    values = secret_values(env)
    assert values == {"sk_live_1234", "pa55word!", "a8f3b2c9d4e5f6a7b8c9d0"}
    assert without_secrets("in production: sk_live_1234", values) == f"in production: {MARK}"
