"""What programs that manage services, packages and databases may remove, publish or change, by their subcommands."""

from __future__ import annotations

import re

from syntor.agentkit.domain.permissions import words as w
from syntor.agentkit.domain.permissions.command import SimpleCommand
from syntor.agentkit.domain.permissions.rules import without_global_options

_DESTROYS: dict[str, tuple[str, str]] = {
    # program: first words that matter (a pattern of the words behind global options), what they do
    "docker": (
        r"(system|volume|image|container|network|builder|buildx) (prune|rm|remove)|rm|rmi|volume rm|kill|"
        r"push|login|(stack|swarm|service|secret|config|node) (rm|leave|deploy|remove)|compose down.* "
        r"(-v|--volumes|--rmi)|compose rm",
        "removes or publishes containers, images or data",
    ),
    "kubectl": (
        r"delete|apply|replace|patch|drain|scale|edit|create|rollout (undo|restart)|exec|cp|annotate|"
        r"label|taint|cordon|set|run|expose",
        "changes a cluster",
    ),
    "helm": (r"(un)?install|delete|upgrade|rollback|push", "changes a cluster"),
    "terraform": (
        r"apply|destroy|import|taint|state (rm|mv|push)|workspace delete|force-unlock",
        "changes infrastructure",
    ),
    "pulumi": (r"up|destroy|refresh|stack rm|import", "changes infrastructure"),
    "aws": (
        r".*\b(rm|rb|sync|mv|cp|delete|terminate|stop|create|put|update|remove|deregister|run-instances|"
        r"invoke|detach|attach|modify|get-secret)",
        "changes or reads what is in the cloud",
    ),
    "gcloud": (
        r".*\b(delete|create|deploy|update|remove|reset|stop|add|set|ssh|access)",
        "changes what is in the cloud",
    ),
    "az": (r".*\b(delete|create|update|remove|stop|purge)", "changes what is in the cloud"),
    "gsutil": (r"rm|rb|rsync|mv|cp", "changes what is in the cloud"),
    "heroku": (r".*", "changes what is deployed"),
    "fly": (r"deploy|destroy|apps|secrets|scale|ssh", "changes what is deployed"),
    "flyctl": (r"deploy|destroy|apps|secrets|scale|ssh", "changes what is deployed"),
    "vercel": (r".*", "deploys"),
    "netlify": (r"deploy.*", "deploys"),
    "firebase": (r"deploy.*", "deploys"),
    "wrangler": (r"deploy|publish|delete|secret.*", "deploys"),
    "npm": (
        r"(un)?publish|deprecate|owner|access|login|token|adduser|dist-tag|(install|i|add|link|update|"
        r"uninstall)\b.* (-g|--global)|(install|i|add|link) (-g|--global)|config set|pkg set scripts.*|"
        r"team|hook|profile",
        "publishes, or changes more than this project",
    ),
    "pnpm": (
        r"publish|(add|install|link|remove) (-g|--global)|store prune",
        "publishes, or changes more than this project",
    ),
    "yarn": (r"(npm )?publish|global.*", "publishes, or changes more than this project"),
    "cargo": (r"publish|yank|owner|login|install|uninstall", "publishes, or changes more than this project"),
    "gem": (r"push|yank|owner|install|uninstall", "publishes, or changes more than this project"),
    "twine": (r"upload.*", "publishes"),
    "poetry": (r"publish.*|config .*", "publishes, or changes credentials"),
    "uv": (r"publish.*|tool (install|uninstall|upgrade)|self", "publishes, or changes more than this project"),
    "flit": (r"publish.*", "publishes"),
    "hatch": (r"publish.*", "publishes"),
    "goreleaser": (r"release.*", "publishes"),
    "gh": (
        r"(repo|release|run|secret|variable|gist|ssh-key|gpg-key|cache|label|issue|extension|codespace|"
        r"workflow|pr|auth|alias|api) (delete|create|edit|archive|rename|transfer|set|remove|upload|"
        r"merge|close|install|login|logout|token|run|sync|import|refresh|setup-git|ssh)|api .*(-X|"
        r"--method|-f|-F|--input)",
        "changes what is on the server, or credentials",
    ),
    "glab": (r".*\b(delete|create|merge|close|update)", "changes what is on the server"),
    "hub": (r"(delete|create|push|release|pull-request|fork|merge|api)", "changes what is on the server"),
    "dropdb": (r".*", "drops a database"),
    "dropuser": (r".*", "drops a user"),
    "redis-cli": (r"(?i).*\b(flushall|flushdb|del|shutdown|config|eval|unlink)", "changes a database"),
    "mongosh": (r"(?i).*\b(drop|delete|remove|update|insert)", "changes a database"),
    "psql": (r"(?is).*\b(drop|delete|truncate|update|alter|insert|create|grant|copy)\b|.*\\\\!", "changes a database"),
    "mysql": (r"(?is).*\b(drop|delete|truncate|update|alter|insert|create|grant)\b", "changes a database"),
    "sqlite3": (
        r"(?is).*\b(drop|delete|truncate|update|alter|attach|load_extension|writefile)\b|.*\.(shell|"
        r"system|import|output|restore|read|load)",
        "changes a database",
    ),
    "alembic": (r"downgrade.*", "changes a database"),
    "rails": (
        r"db:(drop|reset|purge|schema:load|setup|truncate_all|seed:replant).*|(runner|r|console|c)\b.*",
        "changes a database",
    ),
    "rake": (r"db:(drop|reset|purge|schema:load|setup).*", "changes a database"),
    "prisma": (r"(migrate reset|db push|db execute).*", "changes a database"),
    "vagrant": (r"destroy.*|ssh.*", "changes a machine"),
    "ansible": (r".*", "changes machines"),
    "ansible-playbook": (r".*", "changes machines"),
    "virsh": (r"(destroy|undefine|shutdown).*", "changes a machine"),
    "pre-commit": (r"install.*|autoupdate", "sets up what git runs later"),
    "husky": (r".*", "sets up what git runs later"),
    "lefthook": (r"install.*", "sets up what git runs later"),
    "direnv": (r"allow.*|permit.*|grant.*", "lets a file run when the folder is entered"),
    "mise": (r"trust.*|use.*|install.*", "lets a file run when the folder is entered"),
    "syntor": (
        r"(?!status|logs|doctor|version|--version|--help|help|models list|config show|config get|config "
        r"path|permissions|runs list|runs show|agents list|usage).*",
        "controls Syntor itself",
    ),
    "kill": (r".*(^| )-?1$|.*(^| )-1( |$).*", "stops programs"),
    "history": (r"-c|-w.*", "removes the shell's history"),
    "hash": (r"-p.*", "changes which program a name runs"),
    "enable": (r".*", "changes which program a name runs"),
    "ulimit": (r".*unlimited", "lifts limits"),
    "logrotate": (r".*", "removes logs"),
    "tmutil": (r"delete.*", "removes backups"),
    "diskutil": (r".*", "changes disks"),
    "chattr": (r".*", "changes attributes"),
    "security": (r".*", "reads a keychain"),
    "pass": (r".*", "reads secrets"),
    "op": (r".*", "reads secrets"),
    "vault": (r".*", "reads secrets"),
    "secret-tool": (r".*", "reads secrets"),
    "ssh-add": (r".*", "handles keys"),
    "ssh-keygen": (r".*", "handles keys"),
    "ssh-copy-id": (r".*", "grants access to machines"),
    "gpg": (r".*(--export-secret|--delete|--import|--gen-key|--full-gen).*", "handles keys"),
}


def service_risk(command: SimpleCommand) -> str:
    """Return what a command removes, publishes or changes beyond the workspace; empty: nothing known."""
    known = _DESTROYS.get(command.name)
    if known is None:
        if command.name == "docker-compose":
            return service_risk(SimpleCommand(("docker", "compose", *command.words[1:]), command.source))
        return ""
    words = without_global_options((command.name, *command.words[1:]))[0]
    line = " ".join(map(w.shown, words[1:]))
    if re.match(rf"(?:{known[0]})(?=\s|$)" if not known[0].startswith("(?") else known[0], line):
        return known[1]
    return ""
