# The commands of this project. CMake builds the C code; this file only strings commands together.
.POSIX:
.SUFFIXES:
.PHONY: help setup deps demo demo-frameworks demo-spark notebooks plugin-zips train test bench bench-peers bench-spark soak check abi-update format dev asan tsan release coverage fuzz install clean distclean

VENV = .venv/bin
FUZZ_SECONDS = 60

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):[^#]*## /\1|/' | \
	  awk -F'|' 'BEGIN { print "make TARGET, where TARGET is:" } { printf "  %-15s %s\n", $$1, $$2 }'

setup: ## install all that is needed, build vonk: .venv/bin/vonk. EXTRAS=tensorflow,torch,sklearn,spark (or all) adds those
	@tools/setup.sh vonk report
	@echo "vonk is installed: try '$(VENV)/vonk --help', or 'make demo'"

deps: ## set-up without building vonk itself
	@tools/setup.sh test

demo: ## score the 10,000 MNIST test digits with a trained network
	@tools/setup.sh vonk mnist
	@$(VENV)/python examples/mnist/demo.py

demo-frameworks: ## the same digits by networks of Keras and PyTorch, packed with vonk pack, side by side in one query
	@EXTRAS=tensorflow,torch tools/setup.sh vonk mnist
	@$(VENV)/python examples/mnist/demo_frameworks.py

demo-spark: ## the same digits on a Spark cluster that it starts: a function of columns, a Pipeline, SQL
	@EXTRAS=spark tools/setup.sh vonk mnist
	@$(VENV)/python examples/mnist/demo_spark.py

notebooks: ## run the notebooks on a Spark cluster of two workers, and save their outputs
	@EXTRAS=all tools/setup.sh vonk mnist notebooks
	@$(VENV)/python notebooks/run.py

plugin-zips: ## the zip files of the sparkext plug-ins, for sparkext.load: build/plugin-zips
	@python3 tools/plugin_zips.py

train: ## train the examples' models again (their results are committed)
	@EXTRAS=tensorflow,torch tools/setup.sh mnist train
	@$(VENV)/python examples/mnist/train.py
	@$(VENV)/python examples/mnist/train_keras.py
	@$(VENV)/python examples/mnist/train_torch.py
	@$(VENV)/python examples/iris/train.py

test: ## all tests, with all frameworks and without: C tests, with sanitizers, tests of the installed wheel
	@EXTRAS=all tools/setup.sh vonk bare mnist notebooks test
	@tools/test.sh

bench: ## the benchmarks: vonk, SQL and Python against the bare framework loop
	@tools/setup.sh vonk mnist releases test
	@tools/bench.sh

bench-peers: ## vonk against Daft, Polars, DuckDB's Python functions and Ray Data
	@tools/setup.sh vonk mnist peers
	@$(VENV)/python bench/bench_peers.py

bench-spark: ## vonk in Spark against predict_batch_udf, pandas and Arrow functions, on a cluster that it starts
	@EXTRAS=spark,tensorflow tools/setup.sh vonk mnist
	@$(VENV)/python bench/spark.py

soak: ## 10,000 queries with loads, errors and cancellations over eight connections: what is left behind
	@tools/setup.sh vonk
	@$(VENV)/python bench/soak.py

check: ## static checks: format, clang-tidy, ruff, mypy, layers, symbols, ABI, files
	@tools/setup.sh test check
	@tools/check.sh

format: ## rewrite C and Python sources in the house format
	@tools/setup.sh check
	@tools/format.sh

abi-update: ## record the plug-in ABI as it is now (only before it is frozen, or for appended fields)
	@tools/setup.sh check
	@tools/check_abi.sh --update

dev asan tsan: ## build a preset and run its C tests (dev, asan or tsan)
	@tools/setup.sh test mnist
	@PATH="$$PWD/$(VENV):$$PATH"; cmake --preset $@ >/dev/null && cmake --build --preset $@ && ctest --preset $@

release: ## build build/release, with the benchmarks
	@tools/setup.sh
	@PATH="$$PWD/$(VENV):$$PATH"; cmake --preset release >/dev/null && cmake --build --preset release

coverage: ## line coverage of the C code by the C tests: build/coverage/report/
	@tools/setup.sh test mnist coverage
	@tools/coverage.sh

fuzz: ## run every fuzz target for FUZZ_SECONDS (60) each, with clang's libFuzzer
	@tools/setup.sh fuzz
	@tools/fuzz.sh $(FUZZ_SECONDS)

install: release ## install without Python: make install PREFIX=/usr/local
	@PATH="$$PWD/$(VENV):$$PATH"; cmake --install build/release --prefix "$${PREFIX:?say where: make install PREFIX=...}"
	@conf="$$PREFIX/lib/vonk/paths.conf"; [ -e "$$conf" ] || cp build/release/lib/vonk/paths.conf "$$conf"; \
	  echo "where the frameworks and DuckDB are is written in $$conf: edit it if they move"

clean: ## remove what was built, keep what was downloaded
	rm -rf build/dev build/asan build/tsan build/release build/coverage build/fuzz build/wheel build/dist build/mnist

distclean: ## remove everything that is not in the repository
	@[ ! -e build/cluster/cluster.json ] || tools/cluster down
	rm -rf build .venv
