from .count import count_flops as count_flops
from .count import count_parameters as count_parameters
from .latency import forward_seconds as forward_seconds
from .measure import measure_arms as measure_arms
from .subject import build_subject as build_subject
from .subject import largest_canvas as largest_canvas
from .subject import synthetic_batch as synthetic_batch
