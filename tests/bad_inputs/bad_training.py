"""Bad settings of training: its budget, recipe, trainer and trusted packages."""

from bad_case import NO_DATA, setting

TRAINING = (
    setting("budget.images must be positive, got 0", "budget.images=0"),
    setting("budget.seconds must be positive, got -1", "budget.seconds=-1"),
    setting("budget.seconds must be finite, got inf: null is unlimited", "budget.seconds=inf"),
    setting("budget.flops must be positive, got nan", "budget.flops=nan"),
    setting(
        "budget.images=1e+30 cannot be spent by any machine: set it to at most 1e+15",
        "budget.images=1e30",
    ),
    setting(
        f"budget.images={25 * '9'}… cannot be spent by any machine: set it to at most 1e+15",
        f"budget.images={400 * '9'}",
    ),
    setting(
        "budget.images=1e+16 cannot be spent by any machine: set it to at most 1e+15",
        "budget.images=null",
        "budget.images_by_default=1e16",
    ),
    setting(
        "budget.seconds=1000000000.0 cannot be spent by any machine: set it to at most 31622400, "
        "a year",
        "budget.images=null",
        "budget.seconds=1e9",
    ),
    setting(
        "budget.flops=1e+40 cannot be spent by any machine: set it to at most 1e+27",
        "budget.images=null",
        "budget.flops=1e40",
    ),
    setting("budget.images must be a number or null, got 'many'", "budget.images=many"),
    setting("budget.checkpoints must be at least 1, got 0", "budget.checkpoints=0"),
    setting("budget.first_point must be below 1, got 15", "budget.first_point=15"),
    setting(
        "budget.first_point=0.1 is the first of several evaluation points, and "
        "budget.checkpoints=1: set budget.checkpoints to at least 2",
        "budget.first_point=0.1",
    ),
    setting(
        "budget.first_point=0.1 puts evaluation points less than one of 2 steps apart: set it "
        "higher, or set fewer budget.checkpoints",
        "budget.first_point=0.1",
        "budget.checkpoints=2",
        "model.training.batch_size=32",
    ),
    setting(
        "budget.checkpoints=1000000000000 would evaluate the model as many times, with all its "
        "samplers: set it to at most 10000",
        "budget.checkpoints=1000000000000",
    ),
    setting(
        "budget.checkpoints=9, but 64 images in batches of 32 are 2 steps: set it to at most 2",
        "budget.checkpoints=9",
        "model.training.batch_size=32",
    ),
    setting(
        "model.training.batch_size=1000000000000 would take at least 238418 GiB of memory, 256 "
        "bytes for one sample as float32, and there are …",
        "model.training.batch_size=1000000000000",
    ),
    setting(
        "model.training.batch_size must be a whole number, got 64.0: write 64",
        "model.training.batch_size=64.0",
    ),
    setting(
        "trainer.checkpoint_seconds must not be negative, got nan", "trainer.checkpoint_seconds=nan"
    ),
    setting(
        "budget.images must be positive, got 0", "budget.images=null", "budget.images_by_default=0"
    ),
    setting("model.training.batch_size must be at least 1, got 0", "model.training.batch_size=0"),
    setting("model.training.ema_decay must be in [0, 1), got 1.5", "model.training.ema_decay=1.5"),
    setting(
        "model.training.optimizers.generator: Invalid learning rate: -1",
        "model.training.optimizers.generator.lr=-1",
    ),
    setting(
        "model.training: Recipe.__init__() got an unexpected keyword argument 'speed'",
        "+model.training.speed=9",
    ),
    setting(
        "model.training: cosine() got an unexpected keyword argument 'speed'",
        "+model.training.lr_schedule._target_=bench.training.recipe.cosine",
        "+model.training.lr_schedule.speed=9",
    ),
    setting(
        "model.training.lr_schedule.floor must be in [0, 1], got 3",
        "+model.training.lr_schedule._target_=bench.training.recipe.cosine",
        "+model.training.lr_schedule.floor=3",
    ),
    setting(
        (
            "model.training.optimizers must name the model's phases ['discriminator', "
            "'generator'], got ['discriminator']"
        ),
        "~model.training.optimizers.generator",
    ),
    setting(
        "model.build: GAN.__init__() got an unexpected keyword argument 'speed'",
        "+model.build.speed=9",
    ),
    setting("trainer.log_every must be at least 1, got 0", "trainer.log_every=0"),
    setting("trainer.keep must be last or best, got 'first'", "trainer.keep=first"),
    setting(
        "trainer.keep=best has nothing to select from with budget.checkpoints=1: set "
        "budget.checkpoints to at least 2, or trainer.keep=last",
        "trainer.keep=best",
        "dataset=folder",
        NO_DATA,
    ),
    setting(
        "trainer.keep=best selects among the evaluation points of training, but real is not "
        "trained: set trainer.keep=last for it",
        "model=real",
        "trainer.keep=best",
        "budget.checkpoints=4",
    ),
    setting("trainer.accumulate must be at least 1, got 0", "trainer.accumulate=0"),
    setting(
        "trainer.accumulate=3 does not divide model.training.batch_size=64: set it to 2 or 4",
        "trainer.accumulate=3",
    ),
    setting(
        "trainer.accumulate=2 would change the training of this model, in whose discriminator loss "
        "the gradient of a batch is not the mean over parts of the batch (as with batch norm, "
        "minibatch standard deviation, or a loss that is no mean over samples): set "
        "trainer.accumulate=1, or choose a model without these",
        "model=dcgan_small",
        "trainer.accumulate=2",
    ),
    setting(
        "trust=[os]: os is a module of Python itself: name a package of your own", "trust=[os]"
    ),
    setting("trust must be a list of packages, got 3: write trust=[my_models]", "trust=3"),
)
