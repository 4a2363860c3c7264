from __future__ import annotations
def test_x(tiny_run):
    import json
    r=json.loads((tiny_run/"report.json").read_text())
    print(json.dumps(r["stages"],indent=1), r["checks"][:3], r["seconds"], r["data"])
