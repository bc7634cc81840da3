use serde_json::{Value, json};

use super::*;
use crate::layer::{Groups, Path};

/// A layer on its own, with the two fields that it must have and those of `more`.
fn layer(more: Value) -> Value {
    let mut layer = json!({"input": {"channels": 8}, "channels": 16});
    for (name, value) in more.as_object().unwrap() {
        layer[name] = value.clone();
    }
    layer
}

fn read(more: Value) -> Spec {
    let text = layer(more).to_string();
    let read = |text: &str| serde_json::from_str::<LayerDescription>(text).map_err(|error| error.to_string());
    read(&text).unwrap_or_else(|error| panic!("{text}: {error}")).spec().unwrap()
}

/// The error of reading, or else the error of building.
fn refusal(text: &str) -> String {
    match serde_json::from_str::<LayerDescription>(text) {
        Ok(layer) => layer.spec().unwrap_err().to_string(),
        Err(error) => error.to_string(),
    }
}

fn built(builder: SpecBuilder) -> Spec {
    builder.build().unwrap()
}

#[test]
fn defaults_are_a_plain_pointwise_convolution() {
    assert_eq!(read(json!({})), built(Spec::builder(8, 16)));
    let read: LayerDescription = serde_json::from_value(layer(json!({}))).unwrap();
    assert_eq!(
        (read.norm_eps, read.fields),
        (1e-5, LayerFields::new(MapChannels { channels: 8, alpha: 0.0, split: None }, 16))
    );
}

#[test]
fn each_field_arrives() {
    let plain = || Spec::builder(8, 16);
    let half = Split { high: 4, low: 4 };
    for (fields, expected) in [
        (json!({"input": {"channels": 8, "alpha": 0.5}}), plain().alpha(0.5, 0.0)),
        (json!({"input": {"channels": 8, "split": [4, 4]}}), plain().split(half, Split { high: 16, low: 0 })),
        (json!({"alpha": 0.5}), plain().alpha(0.0, 0.5)),
        (json!({"split": [5, 11]}), plain().split(Split { high: 8, low: 0 }, Split { high: 5, low: 11 })),
        // Networks write alpha next to a split.
        (json!({"split": [5, 11], "alpha": 0.0}), plain().split(Split { high: 8, low: 0 }, Split { high: 5, low: 11 })),
        (json!({"kernel": [3, 5]}), plain().kernel([3, 5])),
        (json!({"padding": [1, 2]}), plain().padding([1, 2])),
        (json!({"kernel": [3, 5], "dilation": [1, 3], "padding": "same"}), {
            plain().kernel([3, 5]).dilation([1, 3]).padding([1, 6])
        }),
        (json!({"dilation": [2, 3]}), plain().dilation([2, 3])),
        (json!({"stride": 2}), plain().stride(2)),
        (json!({"groups": 2}), plain().groups(2)),
        (json!({"depthwise": true}), plain().depthwise()),
        (json!({"depthwise": true, "groups": 1}), plain().depthwise()),
        (json!({"depthwise": true, "groups": 8}), plain().depthwise()),
        (json!({"bias": true}), plain().bias(true)),
        (json!({"activation": "relu"}), plain().activation(Activation::Relu)),
        (json!({"activation": {"leaky_relu": {"slope": 0.25}}}), {
            plain().activation(Activation::LeakyRelu { slope: 0.25 })
        }),
        (json!({"residual": true}), plain().residual(true, false)),
        (json!({"residual": true, "alpha": 0.5}), plain().alpha(0.0, 0.5).residual(true, true)),
        (json!({"residual": true, "alpha": 1}), plain().alpha(0.0, 1.0).residual(false, true)),
        (json!({"downsample": "strided"}), plain().downsample(Downsample::StridedConv)),
        (json!({"downsample": "average"}), plain().downsample(Downsample::AveragePool)),
        (json!({"rounding": "floor"}), plain().rounding(Rounding::Floor)),
        (json!({"rounding": "ceil"}), plain().rounding(Rounding::Ceil)),
        (json!({"high_to_low": false}), plain().high_to_low(false)),
        (json!({"low_to_high": false}), plain().low_to_high(false)),
    ] {
        assert_eq!(read(fields.clone()), built(expected), "{fields}");
    }
    let read: LayerDescription = serde_json::from_value(layer(json!({"norm": true, "norm_eps": 0.25}))).unwrap();
    assert_eq!((read.fields.norm, read.norm_eps), (true, 0.25));
    assert_eq!(read.spec().unwrap(), built(Spec::builder(8, 16)));
}

#[test]
fn a_time_axis_is_three_numbers_or_an_object() {
    let time = |stride| TimeAxis { kernel: 3, stride, padding: 1, dilation: 1 };
    for (stride, expected) in
        [(json!(2), (time(1), 2)), (json!([2, 1, 1]), (time(2), 1)), (json!([3, 2, 2]), (time(3), 2))]
    {
        let spec = read(json!({"kernel": [3, 1, 1], "padding": "same", "stride": stride}));
        assert_eq!((spec.time(), spec.stride()), expected);
        assert_eq!((spec.kernel(), spec.padding()), ([1, 1], [0, 0]));
    }
    let object = json!({"kernel": [3, 3], "time": {"kernel": 3, "stride": 2, "padding": 1, "dilation": 1}});
    let numbers = json!({"kernel": [3, 3, 3], "padding": [1, 0, 0], "stride": [2, 1, 1]});
    assert_eq!(read(object), read(numbers));
    let dilated = read(json!({"kernel": [3, 3, 3], "dilation": [2, 1, 1], "padding": "same"})).time();
    assert_eq!(dilated, TimeAxis { kernel: 3, stride: 1, padding: 2, dilation: 2 });
    // A time axis of one frame is that of an image, but the shapes of a network's tensors still have it.
    assert_eq!(read(json!({"kernel": [1, 3, 3]})), read(json!({"kernel": [3, 3]})));
    let fields: LayerDescription = serde_json::from_value(layer(json!({"kernel": [1, 3, 3]}))).unwrap();
    assert_eq!(fields.fields.time, Some(TimeAxis::IMAGE));
}

#[test]
fn depthwise_is_said() {
    assert_eq!(read(json!({"groups": 8})).groups(), Groups::Count(8));
    let split = json!({"input": {"channels": 8, "alpha": 0.5}, "alpha": 0.5, "depthwise": true});
    assert!(!read(split).has(Path::HL));
}

#[test]
fn what_is_written_is_read_again() {
    for fields in [
        json!({}),
        json!({"input": {"channels": 8, "split": [3, 5]}, "split": [5, 11], "residual": true, "norm": true}),
        json!({"kernel": [3, 3, 3], "padding": "same", "activation": {"leaky_relu": {"slope": 0.5}}}),
        json!({"depthwise": true, "rounding": "floor", "downsample": "strided", "norm_eps": 0.5}),
    ] {
        let listed = json!({"name": "a", "size": {"n": 2, "t": 3, "h": 4, "w": 5}});
        let mut entry = layer(fields);
        entry.as_object_mut().unwrap().extend(listed.as_object().unwrap().clone());
        let entry: ListedLayer = serde_json::from_value(entry).unwrap();
        let text = serde_json::to_string(&entry).unwrap();
        assert_eq!(serde_json::from_str::<ListedLayer>(&text).unwrap(), entry, "{text}");
    }
}

#[test]
fn refusals_name_the_field() {
    for (text, wanted) in [
        ("", "EOF while parsing"),
        ("[]", "invalid type: sequence, expected an object"),
        (r#"{"channels": 8}"#, "input is missing"),
        (r#"{"input": {"channels": 8}}"#, "channels is missing"),
        (r#"{"input": {"alpha": 0}, "channels": 8}"#, "input: channels is missing"),
        (r#"{"input": "conv1", "channels": 8}"#, "input: invalid type: string \"conv1\", expected an object"),
        (
            r#"{"input": {"channels": 3.5}, "channels": 8}"#,
            "input: channels is 3.5: must be a whole number, at least 1",
        ),
        (r#"{"input": {"channels": 3, "beta": 1}, "channels": 8}"#, "input: unknown field `beta`"),
        (r#"{"input": {"channels": 0}, "channels": 8}"#, "input: channels is 0: must be a whole number, at least 1"),
        (r#"{"input": {"channels": 3}, "channels": 8, "channels": 8}"#, "duplicate field `channels`"),
    ] {
        let refusal = refusal(text);
        assert!(refusal.contains(wanted), "{text}\n  gives  {refusal}\n  wanted {wanted}");
    }
    for (fields, wanted) in [
        (
            json!({"beta": 1}),
            "unknown field `beta`: must be one of input, residual, rounding, norm_eps, channels, alpha",
        ),
        (json!({"in_channels": 8}), "unknown field `in_channels`"),
        (json!({"name": "a"}), "unknown field `name`"),
        (json!({"channels": -1}), "channels is -1: must be a whole number"),
        (json!({"channels": 0}), "channels is 0: must be a whole number, at least 1"),
        (json!({"alpha": 2}), "alpha is 2: must be a number from 0 to 1"),
        (json!({"alpha": "half"}), "alpha is \"half\": must be a number from 0 to 1"),
        (json!({"split": [8]}), "split is [8]: must be [high, low]"),
        (json!({"split": [8, 9]}), "split is 8 + 9: must sum to the 16 channels"),
        (json!({"split": [8, 8], "alpha": 0.5}), "split is [8, 8]: must not be given next to alpha, which is 0.5"),
        (json!({"input": {"channels": 8, "split": [8, 9]}}), "input: split is 8 + 9: must sum to the 8 channels"),
        (json!({"kernel": 3}), "kernel is 3: must be [h, w] or [t, h, w]"),
        (json!({"kernel": "3x3"}), "kernel is \"3x3\": must be [h, w] or [t, h, w]"),
        (json!({"kernel": [-1, 3]}), "kernel is [-1,3]: must be"),
        (
            json!({"kernel": vec![3; 99]}),
            "kernel is [3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3...: must",
        ),
        (json!({"kernel": [3, 0]}), "kernel width is 0: must be 1 to"),
        (json!({"padding": "valid"}), "padding is \"valid\": must be [h, w], [t, h, w] or \"same\""),
        (json!({"kernel": [3, 3, 3], "padding": [1, 1]}), "padding is [1, 1]: must have as many numbers as kernel"),
        (
            json!({"kernel": [3, 3], "dilation": [1, 1, 1]}),
            "dilation is [1, 1, 1]: must have as many numbers as kernel",
        ),
        (json!({"kernel": [2, 3], "padding": "same"}), "padding is \"same\": must be numbers for a kernel of 2"),
        (json!({"stride": [2, 2]}), "stride is [2,2]: must be a number; it is a list only if"),
        (json!({"kernel": [1, 3, 3], "stride": [1, 2]}), "stride is [1,2]: must be a number or [t, h, w]"),
        (json!({"kernel": [1, 3, 3], "stride": [1, 2, 1]}), "stride is [1, 2, 1]: must be the same for rows"),
        (json!({"stride": 3}), "stride is 3: must be 1 or 2"),
        (json!({"time": 3}), "time: invalid type: integer `3`, expected an object"),
        (json!({"time": {"kernel": 3}}), "time: stride is missing"),
        (json!({"time": {"kernel": 3, "stride": 1, "padding": 1, "dilation": 1, "x": 1}}), "time: unknown field `x`"),
        (
            json!({"kernel": [1, 1, 1], "time": {"kernel": 3, "stride": 1, "padding": 1, "dilation": 1}}),
            "kernel is [1, 1, 1]: must be [h, w] if time is given",
        ),
        (json!({"groups": "two"}), "groups is \"two\": must be a whole number"),
        (json!({"groups": 3}), "groups is 3: must divide"),
        (
            json!({"groups": 2, "depthwise": true}),
            "groups is 2: must be left out of a depthwise layer, or be its 8 input",
        ),
        (json!({"depthwise": 1}), "depthwise is 1: must be true or false"),
        (json!({"bias": "yes"}), "bias is \"yes\": must be true or false"),
        (json!({"norm": null}), "norm is null: must be true or false"),
        (json!({"residual": "conv1"}), "residual is \"conv1\": must be true or false"),
        (
            json!({"activation": "swish"}),
            "activation is \"swish\": must be one of \"none\", \"relu\", \"relu6\", \"silu\"",
        ),
        (json!({"activation": "leaky_relu"}), "activation is \"leaky_relu\": must be an object, with the numbers"),
        (json!({"activation": {"leaky_relu": {}}}), "activation is {\"leaky_relu\":{}}: missing field `slope`"),
        (json!({"activation": {"leaky_relu": {"slope": 1, "x": 1}}}), "unknown field `x`"),
        (json!({"activation": {"leaky_relu": {"slope": 1e300}}}), "slope is inf: must be finite"),
        (json!({"downsample": "max"}), "downsample is \"max\": must be one of \"average\", \"strided\""),
        (json!({"rounding": "up"}), "rounding is \"up\": must be one of \"ceil\", \"floor\""),
        (json!({"high_to_low": 1}), "high_to_low is 1: must be true or false"),
        (json!({"low_to_high": 0}), "low_to_high is 0: must be true or false"),
        (json!({"norm_eps": -1}), "norm_eps is -1: must be a number, at least 0"),
        (json!({"norm_eps": 1e39}), "norm_eps is 1e+39: must be a number, at least 0"),
    ] {
        let text = layer(fields).to_string();
        let refusal = refusal(&text);
        assert!(refusal.contains(wanted), "{text}\n  gives  {refusal}\n  wanted {wanted}");
    }
}

#[test]
fn a_share_is_the_nearest_number() {
    // Fast algorithms are off by a bit here.
    let alpha = 3.591_368_044_744_849_3e-34;
    let read: LayerDescription = serde_json::from_str(&layer(json!({"alpha": alpha})).to_string()).unwrap();
    assert_eq!(read.fields.alpha, alpha);
}

#[test]
fn entries_of_a_list_name_their_layer() {
    let size = json!({"h": 7, "w": 9});
    let entry = |more: Value| serde_json::from_value::<ListedLayer>(layer(more));
    let read = entry(json!({"name": "a", "size": size})).unwrap();
    assert_eq!((read.name.as_str(), read.size), ("a", InputSize::image(1, 7, 9)));
    for (fields, wanted) in [
        (json!({"size": size}), "name is missing"),
        (json!({"name": 1, "size": size}), "name is 1: must be a text"),
        (json!({"name": "a"}), "layer a: size is missing"),
        (json!({"name": "a", "size": 7}), "layer a: size: invalid type: integer `7`, expected an object"),
        (json!({"name": "a", "size": {"h": 7}}), "layer a: size: w is missing"),
        (json!({"name": "a", "size": {"h": 7, "w": 7, "c": 7}}), "layer a: size: unknown field `c`"),
        (json!({"name": "a", "size": {"h": 7, "w": "7"}}), "layer a: size: w is \"7\": must be a whole number"),
        (json!({"name": "a", "size": size, "kernel": 3}), "layer a: kernel is 3: must be"),
        (json!({"name": "a", "size": size, "cin": 3}), "unknown field `cin`"),
    ] {
        let refusal = entry(fields.clone()).unwrap_err().to_string();
        assert!(refusal.contains(wanted), "{fields}\n  gives  {refusal}\n  wanted {wanted}");
    }
}
