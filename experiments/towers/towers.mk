# The three tower pairs of the preset `mini`: `make towers`. Moved into fila_lab/weights, the files are what it names (package:mini_vit_0, ...).
# A part whose card is there is not made again, so a stopped run goes on with the same command (a part that was stopped, from its .part).
# Each part has a seed and a third of the training fonts and photos of its own to leave out; logs lie beside the weights.
TOWERS ?= experiments/towers
TOWER_PRESET ?= experiments/towers/mini.yaml
DEVICE ?= cpu
WORKERS ?= 1
# The language model looks things up on pages without pixels, whatever the ViT: it is trained once, from the shipped one, which knows the nine
# tasks (ANSWERS_START=random: from nothing, then ANSWERS_STEPS=9000 and a few rounds more), and each further pair trains a projector of its own.
ANSWERS_START ?= package:mini_answers_0
ANSWERS_STEPS ?= 6000
ANSWERS_RATE ?= 0.0008

PAIRS := 0 1 2
FURTHER := $(filter-out 0,$(PAIRS))
PRETRAIN = mkdir -p $(TOWERS) && $(BIN)/fila-lab pretrain
OPTIONS = --preset $(TOWER_PRESET) --seed $* --split $* --out $(TOWERS) --device $(DEVICE) --workers $(WORKERS)
LOG = > $(basename $@).log 2>&1

.PHONY: all-towers
all-towers: $(foreach part,vit convnext answers,$(foreach pair,$(PAIRS),$(TOWERS)/mini_$(part)_$(pair).json))

$(TOWERS)/mini_vit_%.json:
	$(PRETRAIN) vit $(OPTIONS) $(LOG)

$(TOWERS)/mini_convnext_%.json:
	$(PRETRAIN) convnext $(OPTIONS) $(LOG)

$(TOWERS)/mini_answers_0.json: $(TOWERS)/mini_answers_%.json: | $(TOWERS)/mini_vit_%.json
	$(PRETRAIN) answers $(OPTIONS) --vit $(TOWERS)/mini_vit_$*.safetensors --start $(ANSWERS_START) --steps $(ANSWERS_STEPS) \
	  --learning-rate $(ANSWERS_RATE) --solved 0.02 --compile $(LOG)

$(FURTHER:%=$(TOWERS)/mini_answers_%.json): $(TOWERS)/mini_answers_%.json: | $(TOWERS)/mini_vit_%.json $(TOWERS)/mini_answers_0.json
	$(PRETRAIN) answers $(OPTIONS) --vit $(TOWERS)/mini_vit_$*.safetensors --start $(TOWERS)/mini_answers_0.safetensors --steps 0 $(LOG)
