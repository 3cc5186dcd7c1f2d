"""Files of SEML with all that its configurations can have, for tests, also against the real package."""

from __future__ import annotations

HEAD = "seml: {executable: train.py, name: mine, output_dir: logs, project_root_dir: .}\n"
FILES = {
    "grids": """
fixed: {epochs: 3, optim: {name: Adam, nesterov: false}}
grid:
  optim.lr: {type: loguniform, min: 1e-5, max: 1e-1, num: 5}
  width: {type: range, min: 16, max: 64, step: 16}
  data:
    noise: {type: uniform, min: 0, max: 1, num: 3}
    ratio: {type: range, min: 0.1, max: 0.5, step: 0.1}
  layers: {type: choice, options: [[16], [32, 16]]}
""",
    "zipped": """
grid:
  model.kind: {type: choice, options: [a, b], zip_id: pair}
  seed: {type: choice, options: [1, 2, 3]}
  data.name: {type: choice, options: [small, large], zip_id: pair}
""",
    "random": """
fixed: {a: 1}
random:
  samples: 4
  seed: 821
  x: {type: uniform, min: 0.0, max: 0.7, seed: 222}
  y: {type: uniform, min: -1, max: 1}
  inner.lr: {type: loguniform, min: 1e-4, max: 1}
  depth: {type: randint, min: 2, max: 10}
  unique: {type: randint_unique, min: 0, max: 9}
""",
    "sub-configurations": """
fixed: {epochs: 500, keep: true}
grid: {lr: {type: choice, options: [0.1, 0.2]}}
random: {samples: 2, seed: 5, drop: {type: uniform, min: 0, max: 1}}
small:
  grid: {data: {type: choice, options: [s1, s2]}}
  random: {samples: 3, seed: 6, epochs: {type: randint, min: 200, max: 1000}}
large:
  fixed: {epochs: 1000, batch: 8}
  grid: {lr: {type: choice, options: [0.001]}}
  wide: {fixed: {width: 64}}
  deep: {grid: {depth: {type: choice, options: [4, 8]}}}
""",
    "values that are Python's, and duplicates": """
fixed: {list: "[1, 2]", number: "1e-5", text: hello, none: null, also: "None", table: {}, flag: "True"}
grid:
  a: {type: choice, options: [1, 1.0, true, "1"]}
  b: {type: choice, options: [{x: 1, y: 2}, {x: 2}]}
""",
    "collections": """
grid:
  model:
    type: parameter_collection
    params:
      width: {type: choice, options: [1, 2]}
      norm: {type: parameter_collection, params: {eps: {type: loguniform, min: 0.001, max: 0.1, num: 3}}}
random:
  samples: 2
  seed: 1
  reg: {type: parameter_collection, params: {decay: {type: uniform, min: 0, max: 1}}}
""",
    "named configurations": """
fixed: {+norm.priority: 2, seed: 3}
grid:
  +norm.name: {type: choice, options: [with_norm, without_norm]}
  +data: {type: choice, options: [config/small.yaml, big]}
""",
}
