"""Names that Unicode's collation takes for the name of a rule, by the ICU of Node.js."""

import json
import subprocess

import pytest
from node import require

from minikms.basics.claim_names import is_taken_for

# All names that it takes for one, which have one character more or another one.
SCRIPT = """
const collator = new Intl.Collator("und", { sensitivity: "base" });
const found = {};
for (const name of NAMES) {
  found[name] = [];
  for (let n = 0; n < 0x110000; n++) {
    if (n >= 0xd800 && n < 0xe000) continue;
    const each = String.fromCodePoint(n);
    for (let at = 0; at <= name.length; at++)
      for (const others of [0, 1]) {
        const tried = name.slice(0, at) + each + name.slice(at + others);
        if (tried !== name && collator.compare(name, tried) === 0) found[name].push(tried);
      }
  }
}
console.log(JSON.stringify(found));
"""
NAMES = ["iss", "exp", "typ"]


@pytest.mark.slow
@pytest.mark.timeout(120)  # 25 million comparisons
def test_no_name_that_icu_takes_for_a_rules_is_another():
    require("node")
    script = SCRIPT.replace("NAMES", json.dumps(NAMES))
    ran = subprocess.run(["node", "--eval", script], capture_output=True, check=True)
    found = json.loads(ran.stdout)
    for name in NAMES:
        assert len(found[name]) > 4000
        assert [ascii(each) for each in found[name] if not is_taken_for(each, {name})] == []
