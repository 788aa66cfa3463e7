"""Audit the installed packages by pip-audit: exit with 1 if one has a known vulnerability.

An audit that is not possible fails nothing; the last line says how many packages were audited.
"""

import json
import subprocess
import sys

# No advisory is excepted. An exception is an `--ignore-vuln ID`, with its reason here.
COMMAND = ("pip-audit", "--skip-editable", "--progress-spinner", "off", "--format", "json")

try:
    done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=300, check=False)
    answer = json.loads(done.stdout)["dependencies"]
except (subprocess.TimeoutExpired, json.JSONDecodeError):  # the advisory service does not answer
    answer = []
packages = [each for each in answer if "editable" not in each.get("skip_reason", "")]
audited = [each for each in packages if "skip_reason" not in each]
vulnerable = [(each, vuln) for each in audited for vuln in each["vulns"]]
for each, vuln in vulnerable:
    print(f"VULNERABLE: {each['name']} {each['version']}: {vuln['id']}")
if not audited:
    print("NOT AUDITED: nothing, since no advisory service answered for a package")
elif len(audited) < len(packages):
    print(f"NOT AUDITED: {len(packages) - len(audited)} of {len(packages)} packages")
else:
    print(f"audited: all {len(packages)} packages")
sys.exit(bool(vulnerable))
