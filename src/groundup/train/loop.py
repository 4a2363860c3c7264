"""The one training loop. Stages differ in the batches and the loss function they hand it.

A step (step.py) gathers gradients of the summed loss over the micro-batches, divides by the count
of trained tokens in the whole batch, clips, and moves the parameters. Everything that decides the
next step is a function of the step's number, the weights, the optimizer's state and what was
watched so far (watch.py); all of it stands in a checkpoint, so a run that resumes ends in the same
bytes as one that was never stopped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext

import torch
from torch import Tensor

from groundup.export.huggingface import load_weights
from groundup.optim import lr_factor
from groundup.runtime import (
    GroundupError,
    autocast,
    derive_seed,
    deterministic,
)
from groundup.train.checkpoint import Checkpoint, CheckpointStore, Snapshot, copy_tensors
from groundup.train.compiling import compile_blocks, decide
from groundup.train.feed import Feed
from groundup.train.interrupt import Interrupted, StopRequest, stop_request
from groundup.train.job import Job, Progress
from groundup.train.layer_stats import LayerStats, layer_groups, read_figures
from groundup.train.metrics import MetricsFile, Sink, Tee
from groundup.train.precision import apply_precision
from groundup.train.profile import StepProfiler, summary_lines
from groundup.train.recompute import apply_recompute
from groundup.train.sinks import open_sinks
from groundup.train.speed import Speedometer
from groundup.train.stall import StallWatchdog
from groundup.train.step import StepFigures, StepRule
from groundup.train.watch import Verdict, Watch

WHOLE_BATCH = 1 << 30  # more rows than any batch has


class DivergedError(GroundupError):
    """The loss or the gradient is no number, and going back did not help."""


def train(job: Job) -> Progress:
    """Run the loop to its end, from the newest whole checkpoint if there is one.

    Raises Interrupted after writing a checkpoint if SIGINT or SIGTERM asked to stop, DivergedError
    with an explanation when the loss stays no number, StorageError when the disk refuses; the last
    good checkpoint then stands.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    deterministic(job.device, job.config.deterministic)
    return _Run(job).to_the_end()


class _Run:
    """A job under way."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.progress = Progress()
        self.watch = Watch(job.config.watch)
        self.store = CheckpointStore(
            job.folder / "checkpoints",
            save_weights=job.save_weights,
            keep=job.config.keep_checkpoints,
            warn=job.listener.message,
        )
        self.metrics = MetricsFile(job.folder / "metrics.jsonl")
        self.rule = StepRule(
            job.model, job.optimizer, job.loss_fn, job.config.precision, job.config.gradient_clip
        )
        self.stats = LayerStats(job.model, layer_groups(job.model))
        # Figures of steps that may still run: on a GPU the host works one step ahead of it.
        self.unread: deque[tuple[int, StepFigures]] = deque()
        self.lag = 1 if job.device.type == "cuda" else 0
        self.profiler: StepProfiler | None = None

    def to_the_end(self) -> Progress:
        """Resume or begin, and take every step."""
        job, settings = self.job, self.job.config
        checkpoint = self.store.latest(_identity(job))
        if checkpoint is not None:
            self._restore(checkpoint)
            self.progress.earlier_seconds = self.progress.seconds
            job.listener.message(
                f"{job.label}: going on from step {checkpoint.step} of {job.n_steps}"
            )
        if n_damaged := self.metrics.rewind(self.progress.step):
            lines = "1 line is" if n_damaged == 1 else f"{n_damaged} lines are"
            job.listener.message(f"{self.metrics.path}: {lines} damaged and left out")
        self._prepare_model()
        with ExitStack() as stack:
            request = stack.enter_context(stop_request())
            stack.callback(self.store.wait)
            tracked = open_sinks(
                job.track,
                job.folder,
                run_name=f"{job.folder.parent.name} {job.label}",
                settings=_identity(job),
                warn=job.listener.message,
                step=self.progress.step,
            )
            sinks = Tee([self.metrics, *tracked])
            stack.callback(sinks.close)
            self.watchdog = stack.enter_context(
                StallWatchdog(settings.watch.stall_timeout_s, job.listener.message)
            )
            if job.profile:
                self.profiler = stack.enter_context(StepProfiler(job.folder / "profile"))
            if checkpoint is None:
                self._checkpoint(
                    scheduled=True
                )  # something to go back to, and the disk is tried at once
            while self.progress.step < job.n_steps:
                if self._run_until_rolled_back(sinks, request) == "roll_back":
                    self._roll_back()
        self._tell_profile()
        if request.requested:  # too late to stop here, in time to stop what comes after
            raise Interrupted
        return self.progress

    def _prepare_model(self) -> None:
        job, settings = self.job, self.job.config
        job.model.train()
        if self.progress.micro_rows is None:
            self.progress.micro_rows = settings.micro_rows
        apply_precision(job.model, settings.precision, job.device)
        apply_recompute(job.model, settings.recompute)
        compiles = self.progress.is_compiled
        if compiles is None and settings.compile is False:
            compiles = False
        elif compiles is None:
            tokens = (job.n_steps - self.progress.step) * job.speed.tokens_per_step
            expected_s = job.speed.expected_seconds(tokens, job.device, settings.precision)
            compiles, why = decide(settings.compile, job.device, expected_s)
            if compiles:
                job.listener.message(f"{job.label}: compiling the blocks: {why}")
        self.progress.is_compiled = compiles
        if compiles:
            compile_blocks(job.model)

    # --- stepping ---------------------------------------------------------------------------------

    def _run_until_rolled_back(self, sinks: Sink, request: StopRequest) -> Verdict:
        """Take steps from where the run stands, to its end or until it has to go back."""
        job, progress = self.job, self.progress
        meter = Speedometer(job.speed, job.device, job.config.precision)
        offset = self.watch.data_offset
        with Feed(
            job.batches,
            progress.step + offset,
            job.n_steps + offset,
            micro_rows=progress.micro_rows or WHOLE_BATCH,
            device=job.device,
        ) as feed:
            while progress.step < job.n_steps:
                figures, extra = self._step(feed)
                progress.step += 1
                progress.tokens += figures.n_tokens
                self.unread.append((progress.step, figures))
                saves = self._due(job.config.checkpoint_every)
                logs = saves or self._due(job.config.log_every) or bool(extra)
                verdict = self._judge(lag=0 if logs else self.lag)
                progress.seconds += meter.count(figures.n_tokens)  # with the wait for the device
                if verdict == "roll_back":
                    return "roll_back"
                if logs:
                    self._log(figures, meter, feed, sinks, read_figures(extra))
                saves = self._evaluate(sinks) or saves
                stops = request.requested
                if (saves or stops) and self._judge(lag=0) == "roll_back":
                    return "roll_back"
                if saves or stops:
                    self._checkpoint(scheduled=saves)
                if stops:
                    raise Interrupted
                self.store.raise_failure()
                if self.profiler is not None and self.profiler.step_done() is not None:
                    self._tell_profile()
                self.watchdog.beat()
                meter.pause()
        return "go_on"

    def _step(self, feed: Feed) -> tuple[StepFigures, dict[str, Tensor]]:
        job, step = self.job, self.progress.step
        batches = feed.take()
        if job.model.config.dropout:  # the draws are a function of the step
            torch.manual_seed(derive_seed(job.seed, "dropout", step))
        measures = bool(
            job.config.watch.update_stats_every
            and (step + 1) % job.config.watch.update_stats_every == 0
        )
        lr = job.optimizer.peak_lr * lr_factor(job.schedule, step, job.n_steps)
        limit = self.watch.spike_limit(step + 1) if job.config.watch.skip_spikes else float("inf")
        with self.stats.measuring() if measures else nullcontext():
            figures = self.rule.take(
                batches,
                lr,
                loss_limit=limit,
                around_update=self.stats.around_update() if measures else None,
            )
        if job.average is not None:
            job.average.update(step, job.n_steps)
        return figures, self.stats.take() if measures else {}

    def _judge(self, *, lag: int) -> Verdict:
        """Let the watch look at the steps whose figures have arrived, all but the last `lag`.

        Raises DivergedError when it says stop.
        """
        while len(self.unread) > lag:
            step, figures = self.unread.popleft()
            values = figures.read()
            verdict = self.watch.observe(
                step,
                loss=values["loss"],
                gradient_norm=values["gradient_norm"],
                was_skipped=figures.was_skipped,
            )
            for note in self.watch.take_notes():
                self.job.listener.message(f"{self.job.label}: {note}")
            if verdict == "stop":
                raise DivergedError(self.watch.explain(self.job.label, self.job.optimizer.peak_lr))
            if verdict == "roll_back":
                return verdict
        return "go_on"

    def _log(
        self,
        figures: StepFigures,
        meter: Speedometer,
        feed: Feed,
        sinks: Sink,
        extra: Mapping[str, float],
    ) -> None:
        progress, watch = self.progress, self.watch
        _, speeds = meter.lap(waited_s=feed.waited_s)
        feed.waited_s = 0.0
        values = self.job.speed.with_bits_per_byte(figures.read())
        counts = {"skipped": watch.n_skipped, "spikes": watch.n_spikes}
        progress.figures.update(values | speeds | counts)
        sinks.log(
            progress.step,
            {
                "tokens": progress.tokens,
                **values,
                **speeds,
                **counts,
                **extra,
                "seconds": round(progress.seconds, 3),
            },
        )
        self.job.listener.progress(
            self.job.label, progress.step, self.job.n_steps, progress.figures
        )

    def _due(self, every: int) -> bool:
        step = self.progress.step
        return step == self.job.n_steps or bool(every and step % every == 0)

    def _tell_profile(self) -> None:
        profiler, self.profiler = self.profiler, None
        if profiler is not None and profiler.summary is not None:
            for line in summary_lines(profiler.summary):
                self.job.listener.message(line)

    # --- looking at the model ---------------------------------------------------------------------

    def _evaluate(self, sinks: Sink) -> bool:
        """Measure and sample where it is due; whether this is the best step so far."""
        job, progress = self.job, self.progress
        evaluates = job.evaluate is not None and self._due(job.config.eval_every)
        samples = job.sample is not None and self._due(job.config.sample_every)
        if not (evaluates or samples):
            return False
        is_best = False
        averaged = job.average.swapped(job.model) if job.average is not None else nullcontext()
        job.model.eval()
        with averaged, torch.no_grad(), autocast(job.device, job.config.precision):
            if evaluates:
                assert job.evaluate is not None
                is_best = self._take_evaluation(job.evaluate(job.model), sinks)
            if samples:
                assert job.sample is not None
                for line in job.sample(job.model):
                    job.listener.message(f"{job.label} step {progress.step}: {line}")
        job.model.train()
        self.watchdog.beat()
        return is_best

    def _take_evaluation(self, figures: Mapping[str, float], sinks: Sink) -> bool:
        job, progress = self.job, self.progress
        progress.figures.update(figures)
        sinks.log(progress.step, {"tokens": progress.tokens, **figures})
        job.listener.progress(job.label, progress.step, job.n_steps, progress.figures)
        value = figures.get(job.best_by)
        if value is None or (progress.best_value is not None and value >= progress.best_value):
            return False
        progress.best_value, progress.best_step = value, progress.step
        return True

    # --- keeping, going back ----------------------------------------------------------------------

    def _checkpoint(self, *, scheduled: bool) -> None:
        """Keep all of it; `scheduled` if a run that nobody stops would do so here too."""
        job, progress = self.job, self.progress
        trainer = {"optimizer": copy_tensors(job.optimizer.state_by_name())}
        if job.average is not None:
            trainer["average"] = copy_tensors(job.average.state_by_name())
        state = {
            "tokens": progress.tokens,
            "seconds": progress.seconds,
            "best_value": progress.best_value,
            "best_step": progress.best_step,
            "is_compiled": progress.is_compiled,
            "micro_rows": progress.micro_rows,
            "figures": dict(progress.figures),
            "watch": self.watch.state(),
            "scheduled": scheduled,
            "identity": _identity(job),
        }
        weights = copy_tensors(dict(job.model.named_parameters()))
        self.store.save(Snapshot(progress.step, weights, trainer, state, progress.best_step))

    def _restore(self, checkpoint: Checkpoint) -> None:
        job, state = self.job, checkpoint.state
        load_weights(job.model, checkpoint.model_folder)
        job.optimizer.load_state_by_name(checkpoint.trainer_tensors("optimizer"))
        if job.average is not None:
            job.average.load_state_by_name(checkpoint.trainer_tensors("average"))
        self.watch.load_state(state["watch"])
        names = ("tokens", "seconds", "best_value", "best_step", "is_compiled", "micro_rows")
        self.progress = Progress(
            step=checkpoint.step,
            figures=dict(state["figures"]),
            **{name: state[name] for name in names},
        )

    def _roll_back(self) -> None:
        """To the newest checkpoint from before the trouble; what was learned of it stays known.

        Only to one that a run which nobody stopped has as well, so that both go on alike.
        """
        job, watch = self.job, self.watch.state()
        self.store.wait()
        checkpoint = self.store.latest(
            _identity(job), not_after=self.watch.last_good_step, scheduled=True
        )
        if checkpoint is None:
            raise DivergedError(self.watch.explain(job.label, job.optimizer.peak_lr))
        earlier_seconds = self.progress.earlier_seconds
        self._restore(checkpoint)
        self.progress.earlier_seconds = earlier_seconds
        self.watch.load_state(watch)
        self.watch.rolled_back(to_step=checkpoint.step)
        self.unread.clear()
        self.metrics.rewind(checkpoint.step)
        for note in self.watch.take_notes():
            job.listener.message(f"{job.label}: {note}")


def _identity(job: Job) -> dict[str, str]:
    return {**job.identity, "batches": job.batches.fingerprint}
