//! Pictures as inputs: resized, normalized, laid out as the model wants them.

use super::failure::Failure;
use super::out::say;
use clap::Args;
use image::DynamicImage;
use image::imageops::FilterType;
use nnc_runtime::{DType, Port, Tensor};
use std::path::Path;

/// How the numbers of a picture become those of an input.
#[derive(Args, Clone, Debug)]
pub(crate) struct PictureOptions {
    /// Taken from each channel after scaling.
    #[arg(long, value_name = "X,…", value_delimiter = ',', default_values_t = [0.0], help_heading = "Pictures")]
    image_mean: Vec<f32>,
    /// What each channel is divided by after that.
    #[arg(long, value_name = "X,…", value_delimiter = ',', default_values_t = [1.0], help_heading = "Pictures")]
    image_std: Vec<f32>,
    /// What the numbers from 0 to 255 are multiplied with.
    #[arg(long, value_name = "X", default_value_t = 1.0 / 255.0, help_heading = "Pictures")]
    image_scale: f32,
}

/// Where height, width and channels are in an input's shape.
struct Layout {
    channels_last: bool,
    channels: usize,
    height: Option<usize>,
    width: Option<usize>,
}

/// A picture as an input's value; 4-D and 3-D inputs with 1, 3 or 4 channels take one.
pub(crate) fn load(path: &Path, port: &Port, options: &PictureOptions) -> Result<Tensor, Failure> {
    let layout = layout(port)?;
    let fail = |e: image::ImageError| Failure::user(format!("\"{}\": {e}", path.display()));
    let picture = image::ImageReader::open(path)
        .and_then(image::ImageReader::with_guessed_format)
        .map_err(|e| Failure::user(format!("cannot read \"{}\": {e}", path.display())))?
        .decode()
        .map_err(fail)?;
    let height = layout.height.unwrap_or(picture.height() as usize);
    let width = layout.width.unwrap_or(picture.width() as usize);
    let resized = resize(&picture, width, height)?;
    let c = layout.channels;
    let pixels = match c {
        1 => resized.to_luma8().into_raw(),
        3 => resized.to_rgb8().into_raw(),
        _ => resized.to_rgba8().into_raw(),
    };
    for (name, list) in [("--image-mean", &options.image_mean), ("--image-std", &options.image_std)] {
        if list.len() != 1 && list.len() != c {
            let n = list.len();
            return Err(Failure::user(format!("{name} must have 1 or {c} numbers, found {n}")));
        }
    }
    let is_bytes = port.dtype == DType::U8;
    if !is_bytes {
        let (scale, mean, std) = (options.image_scale, &options.image_mean, &options.image_std);
        eprintln!(
            "  input \"{}\": {width} × {height}, {c} channels, (x × {scale} − {mean:?}) / {std:?}",
            port.name
        );
    }
    let at = |list: &[f32], ch: usize| f64::from(list[ch.min(list.len() - 1)]);
    let number = |y: usize, x: usize, ch: usize| {
        let v = f64::from(pixels[(y * width + x) * c + ch]);
        match is_bytes {
            true => v,
            false => {
                (v * f64::from(options.image_scale) - at(&options.image_mean, ch))
                    / at(&options.image_std, ch)
            }
        }
    };
    let mut values = Vec::with_capacity(pixels.len());
    if layout.channels_last {
        (0..height)
            .for_each(|y| (0..width).for_each(|x| (0..c).for_each(|ch| values.push(number(y, x, ch)))));
    } else {
        (0..c)
            .for_each(|ch| (0..height).for_each(|y| (0..width).for_each(|x| values.push(number(y, x, ch)))));
    }
    let mut shape = if layout.channels_last { vec![height, width, c] } else { vec![c, height, width] };
    match port.shape.len() {
        4 => shape.insert(0, 1),
        2 => shape.retain(|d| *d != c || c > 1),
        _ => {}
    }
    let shape = if port.shape.len() == 2 { vec![height, width] } else { shape };
    Tensor::from_f64s(port.dtype, &shape, &values).map_err(|e| Failure::user(e.to_string()))
}

fn resize(picture: &DynamicImage, width: usize, height: usize) -> Result<DynamicImage, Failure> {
    let size = |n: usize| {
        let n = u32::try_from(n).ok().filter(|n| (1..=1 << 16).contains(n));
        n.ok_or_else(|| Failure::user("the input is too large or too small for a picture"))
    };
    let (width, height) = (size(width)?, size(height)?);
    if (picture.width(), picture.height()) == (width, height) {
        return Ok(picture.clone());
    }
    // Triangle is bilinear with antialiasing, what the usual preprocessing pipelines do.
    Ok(picture.resize_exact(width, height, FilterType::Triangle))
}

fn layout(port: &Port) -> Result<Layout, Failure> {
    let sizes: Vec<Option<usize>> = port.shape.iter().map(nnc_runtime::Dim::as_len).collect();
    let sizes = match sizes.as_slice() {
        [Some(1) | None, rest @ ..] if rest.len() == 3 => rest.to_vec(),
        s => s.to_vec(),
    };
    let is_channels = |d: Option<usize>| matches!(d, Some(1 | 3 | 4));
    match sizes.as_slice() {
        [c, h, w] if is_channels(*c) => {
            Ok(Layout { channels_last: false, channels: c.unwrap_or(3), height: *h, width: *w })
        }
        [h, w, c] if is_channels(*c) => {
            Ok(Layout { channels_last: true, channels: c.unwrap_or(3), height: *h, width: *w })
        }
        [h, w] => Ok(Layout { channels_last: false, channels: 1, height: *h, width: *w }),
        _ => Err(Failure::user(format!(
            "input \"{}\" has no place for a picture: expected [1, 1|3|4, h, w] or [1, h, w, 1|3|4]",
            port.name
        ))),
    }
}

/// Prints the most likely classes of a vector of scores: probabilities as they are, else through softmax.
pub(crate) fn print_top(scores: &Tensor, n: usize, labels: &[String]) {
    for (class, p) in top(&scores.to_f64s(), n) {
        let label = labels.get(class).cloned().unwrap_or_else(|| class.to_string());
        say!("  {label:<24} {:5.1} %", 100.0 * p);
    }
}

/// The largest `n` scores as probabilities.
pub(crate) fn top(scores: &[f64], n: usize) -> Vec<(usize, f64)> {
    let sum: f64 = scores.iter().sum();
    let is_distribution = scores.iter().all(|p| *p >= 0.0) && (sum - 1.0).abs() < 1e-2;
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let all: f64 = scores.iter().map(|s| (s - max).exp()).sum();
    let probability = |s: f64| if is_distribution { s } else { (s - max).exp() / all };
    let mut ranked: Vec<(usize, f64)> = scores.iter().map(|s| probability(*s)).enumerate().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranked.truncate(n);
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_become_probabilities() {
        assert_eq!(top(&[0.1, 0.7, 0.2], 2), [(1, 0.7), (2, 0.2)]);
        let ranked = top(&[0.0, 2.0f64.ln() + 5.0, 5.0], 2);
        assert_eq!((ranked[0].0, ranked[1].0), (1, 2));
        assert!((ranked[0].1 / ranked[1].1 - 2.0).abs() < 1e-12);
    }
}
