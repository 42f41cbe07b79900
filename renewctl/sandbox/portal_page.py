"""The portal's pages, plain enough to be read in any browser."""

from __future__ import annotations

import html

_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8">
<title>Apple Push Certificates Portal (sandbox)</title>
<style>body{font:15px system-ui;margin:2rem auto;max-width:70rem}table{border-collapse:collapse;width:100%}
td,th{border-bottom:1px solid #ccc;padding:.5rem;text-align:left}
code{font-size:13px}.Expired,.Revoked{color:#b00020}</style>
<h1>Apple Push Certificates Portal <small>(sandbox)</small></h1>"""

_SCRIPT = """<script>
async function send(path, input) {
  const answer = await fetch(path, {method: "POST", body: input ? input.files[0] : undefined});
  const told = await answer.json();
  if (!answer.ok) { alert(told.ErrorMessage); return; }
  location.reload();
}
</script>"""


def signin_page(accounts: list[str]) -> str:
    """Where a person chooses the account; the sandbox asks for no password."""
    links = "".join(
        f'<li><a href="/signin?account={html.escape(one, quote=True)}">{html.escape(one)}</a>'
        for one in accounts
    )
    return f"{_HEAD}<p>Sign in with your Apple Account:<ul>{links}</ul>"


def page(account: str, rows: list[dict[str, object]]) -> str:
    """The list of certificates of an account.

    Args:
        account: its address, already escaped.
        rows: what `Row.shown` gives.
    """
    lines = "".join(_line(row) for row in rows)
    create = _upload("Create a Certificate", "/certificates", "create")
    if not rows:
        return f"{_HEAD}<p>{account}<h2>Get Started</h2>{create}{_SCRIPT}"
    heads = "".join(
        f"<th>{name}" for name in ("Service", "Vendor", "UID", "Expiration Date", "Status", "Actions")
    )
    table = f"<h2>Certificates for Third-Party Servers</h2><table><tr>{heads}{lines}</table>"
    return f"{_HEAD}<p>{account}{table}<p>{create}{_SCRIPT}"


def _line(row: dict[str, object]) -> str:
    told = {name: html.escape(str(value)) for name, value in row.items()}
    path = f"/certificates/{told['row']}"
    actions = (
        _upload("Renew", f"{path}/renew", f"renew-{told['row']}")
        + f' <a href="{path}/download">Download</a> <button onclick="send(\'{path}/revoke\')">Revoke</button>'
    )
    return (
        f"<tr><td>{told['service']}<td>{told['vendor']}<td><code>{told['uid']}</code><td>{told['expires']}"
        f'<td class="{told["status"]}">{told["status"]}<td>{actions}'
    )


def _upload(label: str, path: str, name: str) -> str:
    return (
        f'<input type="file" id="{name}"> '
        f"<button onclick=\"send('{path}', document.getElementById('{name}'))\">{label}</button>"
    )
