//! Algorithms of the reference, by a configuration with PyTorch's names.

use gradus::reference::optim::{
    Adafactor, Adamax, Adan, AdjustLr, Asgd, Lamb, Lion, Muon, NAdam, RAdam, Rprop, ScheduleFreeAdamW, ScheduleFreeSgd, Step,
};
use serde_json::Value;

macro_rules! twin {
    ($config:expr, $type:ident { $($field:ident),* }) => {{
        let read = Reader { config: $config };
        let twin = $type { $($field: read.get(stringify!($field)),)* };
        (Box::new(twin), &[$(stringify!($field)),*])
    }};
}

/// The algorithm of that name, all of whose options must be there but flags that are off. None if there is no such algorithm.
pub fn twin(optimizer: &str, config: &Value) -> Option<Box<dyn Step>> {
    let (twin, options): (Box<dyn Step>, &[&str]) = match optimizer {
        "lion" => twin!(config, Lion { lr, betas, weight_decay, maximize }),
        "radam" => twin!(config, RAdam { lr, betas, eps, weight_decay, decoupled_weight_decay, maximize }),
        "nadam" => twin!(config, NAdam { lr, betas, eps, weight_decay, momentum_decay, decoupled_weight_decay, maximize }),
        "adamax" => twin!(config, Adamax { lr, betas, eps, weight_decay, maximize }),
        "rprop" => twin!(config, Rprop { lr, etas, step_sizes, maximize }),
        "asgd" => twin!(config, Asgd { lr, lambd, alpha, t0, weight_decay, maximize }),
        "adan" => twin!(config, Adan { lr, betas, eps, weight_decay, no_prox, maximize }),
        "lamb" => twin!(config, Lamb { lr, betas, eps, weight_decay, maximize }),
        "adafactor" => twin!(config, Adafactor { lr, beta2_decay, eps, d, weight_decay, maximize }),
        "schedule_free_adamw" => {
            twin!(config, ScheduleFreeAdamW { lr, betas, eps, weight_decay, warmup_steps, r, weight_lr_power, maximize })
        }
        "schedule_free_sgd" => {
            twin!(config, ScheduleFreeSgd { lr, momentum, weight_decay, warmup_steps, r, weight_lr_power, maximize })
        }
        "muon" => {
            twin!(config, Muon { lr, weight_decay, momentum, nesterov, ns_coefficients, eps, ns_steps, adjust_lr_fn, maximize })
        }
        _ => return None,
    };
    assert!(config.as_object()?.keys().all(|key| options.contains(&key.as_str())), "{optimizer}: {config}");
    Some(twin)
}

/// The options of an algorithm.
pub struct Reader<'a> {
    pub config: &'a Value,
}

impl Reader<'_> {
    pub fn get<T: Read>(&self, name: &str) -> T {
        T::read(self.config.get(name)).unwrap_or_else(|| panic!("{name} in {}", self.config))
    }
}

/// An option's value, or what it is where the configuration does not name it.
pub trait Read: Sized {
    fn read(value: Option<&Value>) -> Option<Self>;
}

impl Read for f64 {
    fn read(value: Option<&Value>) -> Option<Self> {
        value?.as_f64()
    }
}

impl Read for u64 {
    fn read(value: Option<&Value>) -> Option<Self> {
        value?.as_u64()
    }
}

impl Read for u32 {
    fn read(value: Option<&Value>) -> Option<Self> {
        value?.as_u64()?.try_into().ok()
    }
}

impl Read for bool {
    fn read(value: Option<&Value>) -> Option<Self> {
        value.map_or(Some(false), Value::as_bool)
    }
}

/// A null is the machine epsilon of the type in which the cases are computed.
impl<const N: usize> Read for [f64; N] {
    fn read(value: Option<&Value>) -> Option<Self> {
        let numbers: Option<Vec<f64>> =
            value?.as_array()?.iter().map(|v| if v.is_null() { Some(f64::EPSILON) } else { v.as_f64() }).collect();
        numbers?.try_into().ok()
    }
}

impl Read for AdjustLr {
    fn read(value: Option<&Value>) -> Option<Self> {
        match value?.as_str()? {
            "original" => Some(Self::Original),
            "match_rms_adamw" => Some(Self::MatchRmsAdamW),
            _ => None,
        }
    }
}
