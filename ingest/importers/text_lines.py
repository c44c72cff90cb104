"""The forms of lines that training programs print: one table, an entry a form.

A pattern is a regular expression in which {step}, {of} and {n} stand for a step, the planned steps
and a number. `values` are metrics, `columns` what else the line states. To add a program: an entry
here, a real excerpt in tests/fixtures/logs/text, a line in its table of cases.
"""

from __future__ import annotations

from ncpl_data.ingest.importers.text_form import Form

TRAIN, HELD_OUT = "train/loss", "validation/loss"
RATE, GRADIENT = "train/learning_rate", "train/grad_norm"

MEGATRON_COLUMNS = {
    "batch": r"global[ _]batch[ _]size: *{n}",
    "samples": r"consumed[ _]samples: *{n}",
    "tokens": r"consumed[ _]tokens: *{n}",
    "nan": r"number of nan iterations: *{n}",
}
FAIRSEQ_UNITS = dict.fromkeys(
    (TRAIN, HELD_OUT, "train/nll_loss", "validation/nll_loss"), "bits_per_token"
)

FORMS: tuple[Form, ...] = (
    # modded-nanogpt: step:125/3350 val_loss:4.66393 train_time:22.870s tokens_seen:2.62e+05
    Form(
        "modded-nanogpt",
        r"\bstep:{step}/{of} (?:train_|val_)?loss:",
        {HELD_OUT: r"\bval_loss: *{n}", TRAIN: r"(?:\btrain_|(?<!\w))loss: *{n}"},
        {"tokens": r"tokens_seen: *{n}"},
    ),
    # its followers: 0/20000 val_loss: 8.3157 val_bpb: 3.6139; losses after quantisation at the end
    Form(
        "modded-nanogpt",
        r"(?:^|\s){step}/{of} (?:train|val)_loss:",
        {
            HELD_OUT: r"\bval_loss: *{n}",
            "validation/bpb": r"\bval_bpb: *{n}",
            TRAIN: r"\btrain_loss: *{n}",
        },
    ),
    Form("modded-nanogpt", r"^\s*final_\w+ (?:val|test)_loss:"),
    # nanochat: step 00010/21400 (0.05%) | loss: 8.123456 | ...; Step 00250 | Validation bpb: 1.23
    Form(
        "nanochat",
        r"^\s*step {step}/{of} .*?\| loss:",
        {"train/loss_smoothed": r"\| loss: *{n}"},
    ),
    Form(
        "nanochat",
        r"^\s*step {step} \([\d.]+%\) \| loss:",
        {"train/loss_smoothed": r"\| loss: *{n}"},
    ),
    Form(
        "nanochat",
        r"^\s*Step {step} \| Validation (?:bpb|loss):",
        {"validation/bpb": r"Validation bpb: *{n}", HELD_OUT: r"Validation loss: *{n}"},
    ),
    # llm.c: step    1/19560 | loss 11.009 (+nanz)| norm 15.07 (+nanz)| lr 8.57e-07 | ...; val l..
    Form(
        "llm.c",
        r"^\s*step +{step}/{of} \| (?:train )?loss +",
        {TRAIN: r"\bloss +{n}", RATE: r"\blr +{n}", GRADIENT: r"\bnorm +{n}"},
    ),
    Form("llm.c", r"^\s*val loss +{n}\s*$", {HELD_OUT: r"val loss +{n}"}, step="above"),
    Form("llm.c", r"^s:{step} trl:", {TRAIN: r"trl: *{n}", RATE: r"\blr: *{n}"}),
    Form("llm.c", r"^s:{step} tel:", {HELD_OUT: r"tel: *{n}"}),
    # nanoGPT: iter 100: loss 3.21, time 10ms, mfu 1%; step 500: train loss 3.2, val loss 3.3
    Form("nanoGPT", r"\biter {step}: loss ", {TRAIN: r"\bloss +{n}"}),
    Form(
        "nanoGPT",
        r"\bstep {step}: train loss [^,]+, val loss ",
        {HELD_OUT: r"\bval loss +{n}"},
    ),
    # build-nanogpt: step     0 | loss: 10.955 | lr 8.3e-07 | ...; its log.txt: 250 val 6.1
    Form(
        "build-nanogpt",
        r"^\s*step +{step} \| loss: ",
        {TRAIN: r"\bloss: *{n}", RATE: r"\blr +{n}", GRADIENT: r"\bnorm: *{n}"},
    ),
    Form(
        "build-nanogpt", r"^\s*validation loss: *{n}\s*$", {HELD_OUT: r"loss: *{n}"}, step="below"
    ),
    Form("build-nanogpt", r"^{step} train {n}\s*$", {TRAIN: r"train {n}"}),
    Form("build-nanogpt", r"^{step} val {n}\s*$", {HELD_OUT: r"val {n}"}),
    Form("build-nanogpt", r"^{step} hella {n}\s*$", {"eval/hellaswag": r"hella {n}"}),
    # llama2.c: 420 | loss 4.0625 | lr 9.0e-04 | 7367.57ms
    Form("llama2.c", r"^\s*{step} \| loss ", {TRAIN: r"\bloss +{n}", RATE: r"\blr +{n}"}),
    # NeMo 2: Training epoch 0, iteration 9/9 | lr: 6e-4 | ... | global_step: 9 | reduced_train_..
    Form(
        "nemo",
        r"\bglobal_step[:=] *{step}(?:\.0*)?\b(?=.*reduced_train_loss)",
        {
            TRAIN: r"\breduced_train_loss[:=] *{n}",
            HELD_OUT: r"\bval_loss[:=] *{n}",
            RATE: r"\blr[:=] *{n}",
        },
        {
            "batch": r"global_batch_size[:=] *{n}",
            "samples": r"consumed_samples[:=] *{n}(?!\d*[eE])",
        },
        held=True,
    ),
    Form(
        "nemo",
        r"\breduced_train_loss=.*\bglobal_step= *{step}(?:\.0*)?\b",
        {TRAIN: r"\breduced_train_loss= *{n}", HELD_OUT: r"\bval_loss= *{n}"},
        held=True,
    ),
    # MaxText: completed step: 9, seconds: 5.6, ..., total_weights: 196608, loss: 10.374
    Form(
        "maxtext",
        r"\bcompleted step: *{step}, ",
        {
            TRAIN: r"(?:\blm_loss|(?<!\w)loss(?!.*\blm_loss)): *{n}",
            "train/ppl": r"\bperplexity: *{n}",
        },
    ),
    Form("maxtext", r"\beval metrics after step: *{step}, ", {HELD_OUT: r"\bloss=\s*{n}"}),
    # Megatron-LM, Megatron-DeepSpeed, GPT-NeoX (lm_loss): iteration 1/ 50 | ... | lm loss: 1.0E..
    Form(
        "megatron",
        r"\biteration +{step}/ *{of} \|",
        {
            TRAIN: r"\| *lm[ _]loss: *{n}",
            RATE: r"\| *learning rate: *{n}",
            GRADIENT: r"\| *grad norm: *{n}",
        },
        MEGATRON_COLUMNS,
    ),
    Form(
        "megatron",
        r"\bvalidation (?:loss|results) at iteration {step}(?: on validation set)? *\|",
        {
            HELD_OUT: r"\blm[ _]loss value: *{n}",
            "validation/ppl": r"\blm[ _]loss[ _](?i:ppl)(?: value)?: *{n}",
        },
    ),
    Form(
        "megatron",
        r"\b(?:validation|test) (?:loss|results) at (?:the end of|iteration \d+ on test)",
    ),
    # DeepSpeed's engine repeats in its own words: steps: 10 loss: 9.25 iter time (s): 1.2
    Form("deepspeed", r"\bsteps: \d+ loss: *{n} iter time"),
    # torchtitan: step:  4  loss:  7.6  grad_norm: 26.6  memory: ..; validate step: 9  loss: 4.5
    Form("torchtitan", r"\bvalidate step: *{step} +loss: ", {HELD_OUT: r"\bloss: *{n}"}),
    Form(
        "torchtitan",
        r"\bstep: *{step} +(?:\S+: *\S+ +)*?(?:global_avg_)?loss: ",
        {TRAIN: r"\bloss: *{n}", GRADIENT: r"grad_norm: *{n}", RATE: r"\blr: *{n}"},
    ),
    # nanotron: iteration: 991 / 1000 | consumed_tokens: 634K | ... | lm_loss: 10.6 | lr: 1e-05 |
    Form(
        "nanotron",
        r"\biteration: *{step} */ *{of} \|",
        {TRAIN: r"\| lm_loss: *{n}", RATE: r"\| lr: *{n}", GRADIENT: r"\| grad_norm: *{n}"},
        {"batch": r"global_batch_size: *{n} *\|"},
        digits=3,
    ),
    # fairseq: epoch 001:  100 / 1234 loss=14.2, ppl=18845, ..., num_updates=100, lr=2.5e-05, ..
    Form(
        "fairseq",
        r"\bepoch \d+: +\d+ / \d+ .*\bnum_updates={step}\b",
        {
            TRAIN: r"(?<!_)\bloss= *{n}",
            "train/nll_loss": r"\bnll_loss= *{n}",
            "train/ppl": r"\bppl= *{n}",
            RATE: r"\blr= *{n}",
            GRADIENT: r"\bgnorm= *{n}",
        },
        units=FAIRSEQ_UNITS,
    ),
    Form(
        "fairseq",
        r"\bvalid on 'valid' subset \|.*\bnum_updates {step}\b",
        {
            HELD_OUT: r"\| (?:valid_)?loss +{n}",
            "validation/nll_loss": r"\| (?:valid_)?nll_loss +{n}",
            "validation/ppl": r"\| (?:valid_)?ppl +{n}",
        },
        units=FAIRSEQ_UNITS,
    ),
    # its means of a whole epoch, and other subsets: no points of these curves
    Form("fairseq", r"\bepoch \d+ \| (?:train )?loss +{n} .*\bnum_updates \d+"),
    Form("fairseq", r"\bvalid on '\w+' subset"),
    # MLX: Iter 10: Train loss 2.363, Learning Rate 1.000e-05, ..., Trained Tokens 8; Iter 1: Va..
    Form(
        "mlx",
        r"\bIter {step}: Train loss ",
        {TRAIN: r"Train loss +{n}", RATE: r"Learning Rate +{n}"},
        {"tokens": r"Trained Tokens +{n}"},
    ),
    Form("mlx", r"\bIter {step}: Val loss ", {HELD_OUT: r"Val loss +{n}"}),
    # litgpt: Epoch 34 | iter 3050700 step 610140 | loss train: 2.846, val: 2.861 | ...
    Form(
        "litgpt",
        r"\biter \d+ (?:\| )?st[eE]p {step}\b.*\bloss",
        {TRAIN: r"\bloss(?: train)?(?: \(curr\))?:? +{n}", HELD_OUT: r"\bval(?: \([^)]*\))?: +{n}"},
        held=True,
        every_device=True,
    ),
    Form("litgpt", r"\biter \d+: val loss +{n}", {HELD_OUT: r"val loss +{n}"}, step="above"),
    Form(
        "litgpt",
        r"\bFinal evaluation \| val loss: *{n}",
        {HELD_OUT: r"val loss: *{n}", "validation/ppl": r"val ppl: *{n}"},
        step="above",
    ),
    # OLMo and OLMo-core: [step=10/739328,epoch=0] and indented name=value lines
    Form("olmo", r"\[step={step}/{of}[,\]]", opens_block=True),
    Form("olmo", r"\[step={step}[,\]]", opens_block=True),
    Form(
        "olmo",
        r"^\s+(?:train/C(?:rossEntropyLoss|E loss)|optim/(?:learning_rate_group0|LR \(group 0\)"
        r"|total[_ ]grad[_ ]norm)|throughput/total[_ ]tokens)=",
        {
            TRAIN: r"train/(?:CrossEntropyLoss|CE loss)= *{n}",
            RATE: r"optim/(?:learning_rate_group0|LR \(group 0\))= *{n}",
            GRADIENT: r"optim/total[_ ]grad[_ ]norm= *{n}",
        },
        {"tokens": r"throughput/total[_ ]tokens= *{n}"},
        step="block",
    ),
    Form("olmo", r"^\s+train/(?:Perplexity|PPL)= *{n}", {"train/ppl": r"= *{n}"}, step="block"),
    # Composer: [batch=366/48000]: and indented lines "Train loss/train/total: 10.3750"
    Form("composer", r"\[batch={step}/{of}\]", opens_block=True),
    Form("composer", r"\[Eval batch=\d+/\d+\]", step="above"),
    Form(
        "composer",
        r"^\s+Train (?:loss/train/total|metrics/train/(?:Language)?(?:CrossEntropy|Perplexity)"
        r"|time/token|lr-\S+/group0|l2_norm/grad/global): ",
        {
            TRAIN: r"metrics/train/LanguageCrossEntropy: *{n}",
            "train/total_loss": r"loss/train/total: *{n}",
            "train/ppl": r"metrics/train/(?:Language)?Perplexity: *{n}",
            RATE: r"lr-\S+/group0: *{n}",
            GRADIENT: r"l2_norm/grad/global: *{n}",
        },
        {"tokens_before": r"time/token: *{n}"},
        step="block",
    ),
    Form(
        "composer",
        r"^\s+Eval metrics/eval/(?:\w+/)?Language(?:CrossEntropy|Perplexity): ",
        {
            HELD_OUT: r"LanguageCrossEntropy: *{n}",
            "validation/ppl": r"LanguagePerplexity: *{n}",
        },
        step="block",
    ),
    # Levanter's bar: Progress on:train 200it/10.0kit rate:1.2it/s ... postfix:loss=9.87
    Form(
        "levanter",
        r"\bon:train (?:{step}(?:\.0)?)it/[\d.]+k?it .*postfix:loss=",
        {TRAIN: r"postfix:loss= *{n}"},
        every_device=True,
    ),
)
